#!/usr/bin/python3
"""Runs what the outside asks for over a virtio port, as root: the machine has no network.

A request is a line of base64 of {"id", "command", "timeout", "files"}, an answer one of {"id", "status", "output"}. Files are by
their paths, compressed, as base64; they are written before the command is run.
"""

import base64
import json
import os
import signal
import subprocess
import threading
import time
import zlib

PORT = "/dev/virtio-ports/agent"
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "TERM": "dumb",
    "LANG": "C.UTF-8",
    "SYSTEMD_PAGER": "cat",
}

while not os.path.exists(PORT):
    time.sleep(0.1)
port = os.open(PORT, os.O_RDWR)
one_answer = threading.Lock()


def answer(reply):
    line = base64.b64encode(json.dumps(reply).encode()) + b"\n"
    with one_answer:
        while line:
            line = line[os.write(port, line) :]


def run(request):
    path = "/run/agent-%s" % request["id"]
    try:
        for name, content in request.get("files", {}).items():
            os.makedirs(os.path.dirname(name), exist_ok=True)
            with open(name + ".new", "wb") as new:
                new.write(zlib.decompress(base64.b64decode(content)))
            os.chmod(name + ".new", 0o755)
            os.rename(name + ".new", name)
        # A file and no pipe: what a command leaves running does not hold up its answer.
        with open(path, "w+b") as output:
            process = subprocess.Popen(
                ["/bin/bash", "-c", request["command"]],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd="/root",
                env=ENVIRONMENT,
            )
            try:
                status = process.wait(request["timeout"])
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                status = 124
            output.seek(0)
            said = output.read()[-400000:].decode("utf-8", "replace")
        os.unlink(path)
    except Exception as error:
        status, said = 125, "agent: %r" % error
    answer({"id": request["id"], "status": status, "output": said})


parts = []
while True:
    try:
        read = os.read(port, 65536)
    except OSError:
        read = b""
    if not read:
        time.sleep(0.1)
        continue
    *whole, rest = read.split(b"\n")
    for end in whole:
        line, parts = b"".join(parts) + end, []
        try:
            asked = json.loads(base64.b64decode(line))
        except ValueError:
            continue
        threading.Thread(target=run, args=(asked,)).start()
    parts.append(rest)
