#!/usr/bin/python3
"""Speaks to a machine that runs: machine.py FOLDER run SECONDS [FILE=PATH-IN-IT...] < script | machine.py FOLDER monitor COMMAND

`run` sends the files and has its agent run the script as root; prints its output and ends with its status, or with 126 where the
machine does not answer. `monitor` sends a command to qemu, such as `savevm ready`, and prints the answer.
"""

import base64
import json
import os
import socket
import sys
import time
import zlib


def connect(path):
    # Relative, as such a path has at most 107 bytes.
    os.chdir(os.path.dirname(path))
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(os.path.basename(path))
    return connection


def run(folder, seconds, files):
    sent = {}
    for file in files:
        local, there = file.split("=", 1)
        with open(local, "rb") as content:
            sent[there] = base64.b64encode(zlib.compress(content.read(), 1)).decode()
    request = {"id": "%d-%d" % (os.getpid(), time.time_ns()), "command": sys.stdin.read(), "timeout": seconds, "files": sent}
    agent = connect(folder + "/agent")
    agent.settimeout(seconds + 60)
    # An empty line first: it ends what an earlier command that was killed may have left unfinished.
    agent.sendall(b"\n" + base64.b64encode(json.dumps(request).encode()) + b"\n")
    buffer = b""
    while True:
        try:
            read = agent.recv(1 << 16)
        except OSError:
            read = b""
        if not read:
            sys.exit(126)
        buffer += read
        while b"\n" in buffer:
            line, buffer = buffer.split(b"\n", 1)
            try:
                answer = json.loads(base64.b64decode(line))
            except ValueError:
                continue
            if answer["id"] == request["id"]:
                sys.stdout.write(answer["output"])
                sys.exit(answer["status"] if 0 <= answer["status"] < 256 else 1)


def monitor(folder, command):
    qemu = connect(folder + "/monitor")
    qemu.settimeout(300)
    said = b""
    for words in ["", command]:
        if words:
            qemu.sendall(words.encode() + b"\n")
            said = b""
        while not said.endswith(b"(qemu) "):
            read = qemu.recv(1 << 16)
            if not read:
                return
            said += read
    print(said.decode("utf-8", "replace").rpartition("\n")[0].partition("\n")[2])


try:
    if sys.argv[2] == "run":
        run(sys.argv[1], float(sys.argv[3]), sys.argv[4:])
    else:
        monitor(sys.argv[1], sys.argv[3])
except (ConnectionError, FileNotFoundError):
    sys.exit(126)
