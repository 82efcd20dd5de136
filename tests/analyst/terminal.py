"""Plays a person at a terminal: `thalweg sql` in a pseudo terminal, keys in, screen out.

usage: terminal.py BINARY DATA HOME SERVER_PID
Prints a line for each step that held; the first that does not ends it with what the screen said.
"""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time

BINARY, DATA, HOME, SERVER = sys.argv[1:5]
PATIENCE = 60
# What asks a terminal where its cursor is.
CURSOR = "\x1b[6n"
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[\]P].*?(?:\x07|\x1b\\)|\x1b[()][A-Z0-9]|\x1b[=>78]")


class Terminal:
    def __init__(self, columns, **environment):
        environment = {**os.environ, "TERM": "xterm-256color", "XDG_DATA_HOME": HOME, **environment}
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(BINARY, [BINARY, "sql", "--data", DATA], environment)
        self.raw = ""
        self.seen = 0
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def send(self, keys):
        self.seen = len(self.raw)
        os.write(self.fd, keys.encode())

    def text(self):
        return ESCAPES.sub("", self.raw[self.seen:]).replace("\r", "")

    def prompts(self):
        """Whether the line editor, which asks for the cursor's place when it begins, has begun since the last keys."""
        begun = self.raw.rfind(CURSOR)
        return begun >= self.seen and "thalweg> " in ESCAPES.sub("", self.raw[begun:])

    def until(self, what, good):
        """Reads until it is good; keys that come before the editor reads are not what this is about."""
        end = time.monotonic() + PATIENCE
        while not good():
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                sys.exit(f"{what}: still\n{self.text()}")
            try:
                got = os.read(self.fd, 65536).decode(errors="replace")
            except OSError:
                sys.exit(f"{what}: the shell ended:\n{self.text()}")
            self.raw += got
            for _ in range(got.count(CURSOR)):
                os.write(self.fd, b"\x1b[1;1R")

    def wait(self, what, wanted):
        """Reads until the screen says `wanted` since the last keys."""
        self.until(f"{what}: no {wanted!r}", lambda: wanted in self.text())
        print(what, flush=True)

    def ask(self, keys, what, wanted):
        """Types a line; its answer, once the next line can be typed."""
        self.send(keys + "\r")
        self.until(f"{what}: no {wanted!r}", lambda: wanted in self.text() and self.prompts())
        print(what, flush=True)
        return self.text()

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def begin_server(pid_to_end):
    """Ends the server without a goodbye and starts another on the same folder, on other ports."""
    os.kill(int(pid_to_end), signal.SIGKILL)
    yield
    command = [BINARY, "server", "--data", DATA, "--ready-file", "/dev/stdout"]
    for role in ("kafka", "connect", "http"):
        command += ["--set", f"{role}.listen=127.0.0.1:0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE)
    server.stdout.readline()
    yield server


def main():
    edited, out = os.path.join(HOME, "edited.sql"), os.path.join(HOME, "out")
    with open(edited, "w") as file:
        file.write("SELECT 40 + 2 AS edited;\n")
    shell = Terminal(60, EDITOR=f"cp {edited}", PAGER=f"cat > {out}.all; echo paged $((1 + 1))")
    shell.until("begins", shell.prompts)

    shell.send("SELECT v FROM tab\t")
    shell.wait("one Tab completes a relation", "FROM table_of_many")
    shell.ask(";", "many rows are capped", "(40 of 100 rows shown; \\more shows all")
    shell.ask("\\more", "a pager has them all", "paged 2")
    if "(100 rows)" not in open(f"{out}.all").read():
        sys.exit("the pager did not get all rows")

    text = shell.ask("SELECT * FROM table_of_many WHERE k = 'k1';", "a wide table is shown", "(1 row")
    table = [line for line in text.splitlines() if line.startswith(("│", "┌", "└", "╞"))]
    if not table or max(map(len, table)) > 60:
        sys.exit("wider than the terminal:\n" + "\n".join(table))

    shell.send("SELECT zz\t")
    shell.wait("nothing to complete", "zz")
    shell.send("\x15")
    if "NO RECORDS" in shell.raw:
        sys.exit(f"shouts:\n{shell.text()}")

    shell.ask("\\x", "expands", "one column below the other is on")
    shell.ask("SELECT 1 AS one, 2 AS two;", "a record below the other", "two │ 2")
    shell.ask("\\x off", "and back", "is off")
    shell.ask("\\e", "what the editor left is run", "│     42 │")
    shell.ask(f"\\i {edited}", "a file is run", "│     42 │")
    shell.ask(f"\\o {out}", "answers go to a file", "answers go to")
    shell.ask("SELECT 7 AS seven;", "nothing on the screen", "thalweg> ")
    shell.ask("\\o", "and to the screen again", "answers go to the screen")
    if "│     7 │" not in open(out).read():
        sys.exit("the file has no answer")
    shell.send("SELECT 8 AS eight \\watch 0.1\r")
    shell.wait("a query is watched", "every 0.1 s")
    shell.wait("again and again", "│     8 │")
    shell.send("\x03")
    shell.until("until Ctrl-C", shell.prompts)
    shell.ask("\\nothing", "a wrong command is told", "there is no command \\nothing")

    history = open(os.path.join(HOME, "thalweg", "history")).read()
    if "SELECT 1 AS one, 2 AS two;" not in history:
        sys.exit(f"the history is not written at each line: {history!r}")
    print("history is written", flush=True)

    plain = Terminal(80, NO_COLOR="1")
    plain.until("begins without colours", plain.prompts)
    plain.ask("SELECT 'a' AS one;", "answers without colours", "(1 row)")
    colors = [code for code in re.findall(r"\x1b\[([0-9;]*)m", plain.raw) if code.strip("0;")]
    if colors:
        sys.exit(f"colours in spite of NO_COLOR: {colors}")
    plain.close()

    steps = begin_server(SERVER)
    next(steps)
    shell.ask("SELECT 5 AS five;", "a lost server is told", "The shell stays; the next statement tries")
    shell.ask("\\timing", "the shell goes on", "timing is on")
    server = next(steps)
    try:
        answer = shell.ask("SELECT count(*) AS n FROM table_of_many;", "the server is found again", "│ 100 │")
        if not re.search("connected to .* again", answer):
            sys.exit(f"it is not said that the server is back:\n{answer}")
    finally:
        server.kill()
        server.wait()
    shell.close()


main()
