"""What can go wrong with a local stack, each with a message that says what to do next.

    LocalStackError
     ├─ PortInUseError      another program holds a port of this stack
     ├─ ServerStartError    a server ended, or was not ready in time
     ├─ DataDirError        the data folder cannot hold this stack
     ├─ NoStackError        nothing was ever started in the data folder
     ├─ StackBusyError      another command is changing this stack now (try again)
     ├─ GeneratorError      the load of a demonstration ended early
     ├─ DownloadError       the jars could not be fetched (try again)
     └─ WrongJarError       a jar differs from the lock, or the lock is broken (never works by itself)

Never: a password in a message.
"""

from pathlib import Path

TAIL_LINES = 15


class LocalStackError(Exception):
    """Base of all: the message is meant for the person at the terminal."""


class PortInUseError(LocalStackError):
    def __init__(self, service: str, port: int, holder: str | None) -> None:
        super().__init__(service, port, holder)
        self.service = service
        self.port = port
        self.holder = holder

    def __str__(self) -> str:
        by = f" by {self.holder}" if self.holder else " by another program"
        return (
            f"{self.service}: port {self.port} is in use{by}. End that program, "
            f"or remove the line of {self.service} from ports.json in the data folder to get another port"
        )


class ServerStartError(LocalStackError):
    def __init__(self, service: str, reason: str, log: Path) -> None:
        super().__init__(service, reason, log)
        self.service = service
        self.reason = reason
        self.log = log

    def __str__(self) -> str:
        return f"{self.service} did not start: {self.reason}. Its log is {self.log}{last_lines(self.log)}"


class DataDirError(LocalStackError):
    pass


class StackBusyError(LocalStackError):
    pass


class NoStackError(LocalStackError):
    pass


class GeneratorError(LocalStackError):
    pass


class DownloadError(LocalStackError):
    pass


class WrongJarError(LocalStackError):
    pass


def last_lines(log: Path, count: int = TAIL_LINES) -> str:
    """The end of a log, one indented line each, or nothing if there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 64 * 1024))
            lines = file.read().decode(errors="replace").splitlines()[-count:]
    except OSError:
        return ""
    return "".join(f"\n    {line}" for line in lines)
