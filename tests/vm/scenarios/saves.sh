# Each way of saving a definition is enforced without a command: renames, in place, editors, links; an invalid one changes nothing
start ready
vm 900 <<'E'
cd /root
opened >open.yaml; cp /opt/vm/base.yaml closed.yaml; sed 's/version: 1/version: 7/' closed.yaml >bad.yaml
no="open silent" yes="open open"
save <open.yaml;                                               becomes "renamed over it" "$yes" ports
cat closed.yaml >$definition;                                  becomes "written in place" "$no" ports
cp open.yaml $definition;                                      becomes "cp" "$yes" ports
sed -i 's/"80,443,8080"/"80,443"/' $definition;                becomes "sed -i" "$no" ports
vim.tiny -es -u NONE -c '%s/"80,443"/"80,443,8080"/' -c wq $definition; becomes "vim" "$yes" ports
vim.tiny -es -u NONE -c 'set backupcopy=yes' -c '%s/"80,443,8080"/"80,443"/' -c wq $definition; becomes "vim, backupcopy=yes" "$no" ports
install -m 0644 open.yaml $definition;                         becomes "install" "$yes" ports
cp closed.yaml /run/new.yaml; mv /run/new.yaml $definition;    becomes "mv from another file system" "$no" ports
{ head -c 200 open.yaml; sleep 1; tail -c +201 open.yaml; } >$definition; becomes "written slowly" "$yes" ports
rm $definition; sleep 1; cp closed.yaml $definition;           becomes "removed and written anew" "$no" ports
mkdir -p /srv/a /srv/b; cp closed.yaml /srv/a/d.yaml; cp open.yaml /srv/b/d.yaml
ln -s /srv/b/d.yaml /etc/secgroupd/new; mv -T /etc/secgroupd/new $definition; becomes "a link in its place" "$yes" ports
ln -s /srv/a/d.yaml /etc/secgroupd/new; mv -T /etc/secgroupd/new $definition; becomes "another link in its place" "$no" ports
cp open.yaml /srv/a/t; mv /srv/a/t /srv/a/d.yaml;              becomes "what the link leads to is replaced" "$yes" ports
ln -sfn /srv/a /srv/now; ln -s /srv/now/d.yaml /etc/secgroupd/new; mv -T /etc/secgroupd/new $definition; sleep 2
cp closed.yaml /srv/b/d.yaml; ln -s /srv/b /srv/next; mv -T /srv/next /srv/now; becomes "a link on the way is exchanged (as Kubernetes does)" "$no" ports
rm $definition; cp closed.yaml $definition; sleep 2
save <bad.yaml
until [[ "$(status_line)" = DEGRADED* ]]; do sleep 0.2; done
enforced "an invalid one is saved"
holds "systemctl status names the place" "groups.yaml:1:10" "$(status_line)"
systemctl reload secgroupd 2>/dev/null; same "reload fails then" 1 $?
save <open.yaml;                                               becomes "the next valid one recovers" "$yes" ports
same "and the status" no "$([[ "$(status_line)" = DEGRADED* ]] && echo yes || echo no)"
journalctl -b -u secgroupd -o cat
E
