"""Plays a person at a terminal: `thalweg sql` in a pseudo terminal, keys in, screen out.

usage: terminal.py BINARY HTTP_ADDRESS DATA_HOME SERVER_PID
Prints one line a step that held; the first that does not ends it with what the screen said.
"""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

BINARY, ADDRESS, HOME, SERVER = sys.argv[1:5]
PATIENCE = 60
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[\]P].*?(?:\x07|\x1b\\)|\x1b[()][A-Z0-9]|\x1b[=>78]")


class Terminal:
    def __init__(self, columns, **environment):
        environment = {**os.environ, "TERM": "xterm-256color", "XDG_DATA_HOME": HOME, **environment}
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(BINARY, [BINARY, "sql", "--server", ADDRESS], environment)
        self.raw = ""
        self.seen = 0
        self.resize(columns)

    def resize(self, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def send(self, keys):
        self.seen = len(self.raw)
        os.write(self.fd, keys.encode())

    def text(self):
        return ESCAPES.sub("", self.raw[self.seen:]).replace("\r", "")

    def wait(self, what, wanted):
        """Reads until the screen says `wanted` since the last keys."""
        until = time.monotonic() + PATIENCE
        while wanted not in self.text():
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                sys.exit(f"{what}: no {wanted!r} in\n{self.text()}")
            try:
                got = os.read(self.fd, 65536).decode(errors="replace")
            except OSError:
                sys.exit(f"{what}: the shell ended:\n{self.text()}")
            self.raw += got
            # The line editor asks where the cursor is.
            for _ in range(got.count("\x1b[6n")):
                os.write(self.fd, b"\x1b[1;1R")
        print(what, flush=True)
        return self.text()

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def widest(text):
    return max((len(line) for line in text.splitlines()), default=0)


def main():
    shell = Terminal(60)
    shell.wait("begins", "thalweg> ")

    shell.send("SELECT v FROM tab\t")
    shell.wait("one Tab completes a relation", "FROM table_of_many")
    shell.send(";\r")
    shell.wait("many rows are capped", "(40 of 100 rows shown; \\more shows all")

    shell.send("SELECT * FROM table_of_many WHERE k = 'k1';\r")
    text = shell.wait("a wide table is shown", "(1 row")
    table = "\n".join(line for line in text.splitlines() if line.startswith(("│", "┌", "└", "╞")))
    if not table or widest(table) > 60:
        sys.exit(f"wider than the terminal:\n{table}")

    shell.send("SELECT zz\t")
    shell.send("\x15")
    if "NO RECORDS" in shell.raw:
        sys.exit(f"shouts:\n{shell.text()}")

    shell.send("\\x\r")
    shell.wait("expands", "one column below the other is on")
    shell.send("SELECT 1 AS one, 2 AS two;\r")
    shell.wait("a record below the other", "two │ 2")

    history = open(os.path.join(HOME, "thalweg", "history")).read()
    if "SELECT 1 AS one, 2 AS two;" not in history:
        sys.exit(f"the history is not written at each line: {history!r}")
    print("history is written", flush=True)

    plain = Terminal(80, NO_COLOR="1")
    plain.wait("begins without colours", "thalweg> ")
    plain.send("SELECT 'a' AS one;\r")
    plain.wait("answers without colours", "(1 row)")
    colors = [code for code in re.findall(r"\x1b\[([0-9;]*)m", plain.raw) if code.strip("0;")]
    if colors:
        sys.exit(f"colours in spite of NO_COLOR: {colors}")
    plain.close()

    os.kill(int(SERVER), signal.SIGKILL)
    shell.send("SELECT 5 AS five;\r")
    shell.wait("a lost server is told", "The shell stays; the next statement tries")
    shell.send("SELECT 6 AS six;\r")
    shell.wait("and told again", "does not answer")
    shell.send("\\timing\r")
    shell.wait("the shell goes on", "timing is on")
    shell.close()


main()
