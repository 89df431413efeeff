"""Measures commands side by side: tranship and its peers in turn, on the same images, in the same minutes.

A figure is a script of its own. It makes the cases, hands them to `measure`, and the rows to `Bench.record`, which prints the table and
keeps it for bench/RESULTS.md:

    case = Case("tar", lambda: ready(Job(["tar", "-cf", out, layout], output=out)), check=lambda job: check_archive(out, wanted))
    table = Table("ml", measure([case, ...], rounds=5, size=size), size)
    here.record("export", render(table), [table])

Of each run: wall time of the command; the same with its output made durable (fsync of every file and folder it wrote; nothing to do for a
tool that did it itself); CPU time and peak memory of the command, and of the daemons that work for it. Before a run memory is
touched, the output is removed and the disk is idle; after it every byte of the output is verified. A run that is wrong is
counted, and its time is not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import mmap
import os
import platform
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests")]

from support.peers import PeerMissing, Peers, find, temporary_home, version  # noqa: E402  # needs the path above

RESULTS = ROOT / ".cache/bench"
QUICK = ROOT / ".cache/bench-quick"  # where --quick keeps its results, so that no published figure is lost
TRANSHIP = Path(os.environ.get("TRANSHIP") or Path(sys.prefix) / "bin/tranship")  # another build may be measured
TICKS = os.sysconf("SC_CLK_TCK")  # of /proc/PID/stat, per second


@dataclass(frozen=True)
class Job:
    """One run of a command."""

    command: Sequence[str | os.PathLike[str]]
    output: Path | None = None  # the file or folder that it writes; removed before the run
    daemons: Sequence[int] = ()  # process ids of those that work for it
    env: Mapping[str, str] | None = None  # instead of the harness's own
    fresh: bool = False  # the output is a daemon's that starts and ends with the run, which would miss it


@dataclass(frozen=True)
class Case:
    """A way to do the work. `start` sets a job up, untimed and anew for each run; `check` raises WrongResult."""

    tool: str
    start: Callable[[], AbstractContextManager[Job]]
    check: Callable[[Job], None] = lambda _: None


class WrongResult(Exception):
    """A command ended well, but what it wrote is not what it should be; or it did not end well."""


@dataclass(frozen=True)
class Sample:
    wall: float  # seconds
    durable: float  # seconds, with the output fsynced
    cpu: float  # seconds, of the command
    daemon_cpu: float
    rss: int  # bytes at the peak, of the command
    daemon_rss: int


@dataclass
class Row:
    tool: str
    samples: list[Sample] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)  # the complaint of each run that was not right
    command: str = ""  # as a reader would type it
    size: int = 0  # bytes moved in each run, where that is not the table's size

    def median(self, name: str) -> float:
        return float(statistics.median(getattr(sample, name) for sample in self.samples))

    def best(self, name: str) -> float:
        return float(min(getattr(sample, name) for sample in self.samples))


@dataclass(frozen=True)
class Table:
    title: str
    rows: list[Row]
    size: int = 0  # bytes moved in each run, for rates; 0 where rates mean nothing


def ready(job: Job) -> AbstractContextManager[Job]:
    return contextlib.nullcontext(job)


def measure(cases: Sequence[Case], rounds: int, size: int = 0) -> list[Row]:
    """Run every case once a round, in turn, so that a busy moment of the machine falls on all alike. `size`: bytes moved in a run."""
    rows = [Row(case.tool) for case in cases]
    for number in range(rounds):
        touch_memory(TOUCHED[0])
        for case, row in zip(cases, rows, strict=True):
            with case.start() as job:
                row.command = row.command or shown(job.command)
                try:
                    sample = run(job, min(6 * size, TOUCHED[1]))
                    case.check(job)
                    row.samples.append(sample)
                    said = f"{sample.durable:8.3f} s"
                except WrongResult as error:
                    row.wrong.append(str(error))
                    said = f"wrong: {error}"
                if not job.fresh:
                    remove(job.output)
            print(f"  round {number + 1}: {case.tool:36} {said}", file=sys.stderr, flush=True)
    return rows


TOUCHED = (256 << 20, 6 << 30)  # bytes, before a round, and at most before a run: with 2 GB, pulls took 0.75 s or 1.5


def touch_memory(size: int) -> None:
    """Have the host back memory that nobody has used for a while: a virtual machine gives it away, and whoever touches it next pays for it."""
    with mmap.mmap(-1, max(1, size)) as memory:
        for at in range(0, size, mmap.PAGESIZE):
            memory[at] = 1


def run(job: Job, touched: int = 0) -> Sample:
    """Run a job once and measure it, with so many bytes of memory touched just before: two seconds later they may be gone."""
    if not job.fresh:
        remove(job.output)
    os.sync()
    touch_memory(touched)
    for pid in job.daemons:
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # peak memory counts from here (proc(5))
    before = sum(map(cpu_of, job.daemons))
    with tempfile.NamedTemporaryFile("r") as peak, tempfile.TemporaryFile("w+", errors="replace") as said:
        command = [*_peak_memory_to(peak.name), *(os.fspath(part) for part in job.command)]
        started = time.perf_counter()
        process = subprocess.Popen(command, env=job.env, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise WrongResult(f"ended with {process.returncode}: {said.read()[-500:].strip()}")
        rss = int(peak.read().split()[-1]) * 1024 if _peak_memory_to("") else usage.ru_maxrss * 1024
    fsync_all(job.output)
    return Sample(
        wall=wall,
        durable=time.perf_counter() - started,
        cpu=usage.ru_utime + usage.ru_stime,
        daemon_cpu=sum(map(cpu_of, job.daemons)) - before,
        rss=rss,
        daemon_rss=sum(map(peak_of, job.daemons)),
    )


def _peak_memory_to(file: str) -> list[str]:
    """GNU time as a go-between: a process inherits the peak of the one it was forked from, and this one's is 1 MB, not a Python's 20."""
    try:
        return [str(find("time")), "--quiet", "--format=%M", f"--output={file}"]
    except PeerMissing:
        return []


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has used so far, itself and the children that it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS


def peak_of(pid: int) -> int:
    """Peak memory of a process since its clear_refs, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def remove(path: Path | None) -> None:
    if path is not None and path.is_dir():
        shutil.rmtree(path)
    elif path is not None:
        path.unlink(missing_ok=True)


def fsync_all(path: Path | None) -> None:
    """Make a file, or a folder and all below it, durable; and its own name."""
    if path is None or not path.exists():
        return
    for each in (path.parent, path, *(path.rglob("*") if path.is_dir() else ())):
        if each.is_symlink() or not (each.is_file() or each.is_dir()):
            continue
        descriptor = os.open(each, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def have(*names: str) -> bool:
    """Whether all these peers are here; says so when not."""
    try:
        for name in names:
            find(name)
    except PeerMissing as error:
        print(f"  not measured: {error}", file=sys.stderr)
        return False
    return True


def called(name: str) -> str:
    """A peer's name with its version, as tables show it."""
    release = version(name).partition("+")[0].partition("~")[0].rpartition(":")[2].partition("-")[0]
    return f"{name.partition('@')[0]} {release}"


def shown(command: Sequence[str | os.PathLike[str]]) -> str:
    """A command as a reader would type it: no folders of this run, no ports that were free today."""
    text = shlex.join([Path(command[0]).name, *map(os.fspath, command[1:])])
    text = re.sub(rf"{ROOT}/\.cache/(bench(-quick)?/(work|peer)-\w+|images(-quick)?)/", "", text)
    return re.sub(r"\b127\.0\.0\.1:\d+", "registry:5000", text.replace(f"{ROOT}/", ""))


Column = tuple[str, Callable[[Table, Row], str]]


def _seconds(name: str) -> Callable[[Table, Row], str]:
    def text(value: float) -> str:
        return f"{value:.3f}" if value >= 0.01 else f"{value:.5f}"

    return lambda _, row: f"{text(row.median(name))} ({text(row.best(name))})"


def _milliseconds(name: str) -> Callable[[Table, Row], str]:
    return lambda _, row: f"{row.median(name) * 1e3:.0f} ({row.best(name) * 1e3:.0f})"


def _ratio(name: str) -> Callable[[Table, Row], str]:
    """How many times as long as the first row, tranship's."""
    return lambda table, row: f"{row.median(name) / table.rows[0].median(name):.2f}" if table.rows[0].samples else "-"


def rate(table: Table, row: Row) -> float:
    """Bytes a second, durable, at the median."""
    return (row.size or table.size) / row.median("durable")


def _cpu_rate(table: Table, row: Row) -> str:
    rates = [row.median(name) / (row.size or table.size) * 1e9 for name in ("cpu", "daemon_cpu")]
    return f"{sum(rates):.2f}" + (f" = {rates[0]:.2f} + {rates[1]:.2f}" if rates[1] else "")


def _peak(_: Table, row: Row) -> str:
    daemons = row.median("daemon_rss")
    return (
        f"{row.median('rss') / 1e6:.0f}" + (f" + {daemons / 1e6:.0f}" if daemons else "") if row.median("rss") else "-"
    )


# Where two numbers stand with a plus between them, they are the command's and its daemons'.
RATES: list[Column] = [
    ("durable, s (best)", _seconds("durable")),
    ("ratio", _ratio("durable")),
    ("default, s (best)", _seconds("wall")),
    ("ratio", _ratio("wall")),
    ("MB/s, durable", lambda table, row: f"{rate(table, row) / 1e6:.0f}"),
    ("CPU s per GB", _cpu_rate),
    ("peak MB", _peak),
]
TIMES: list[Column] = [
    ("ms (best)", _milliseconds("wall")),
    ("ratio", _ratio("wall")),
    ("CPU ms (best)", _milliseconds("cpu")),
    ("peak MB", _peak),
]


def render(table: Table, columns: Sequence[Column] = RATES) -> str:
    """A table in Markdown: medians, the best in brackets; a row for each tool, tranship's first."""
    lines = [[table.title, *(name for name, _ in columns)], ["---", *("---:" for _ in columns)]]
    for row in table.rows:
        tool = row.tool + (
            f" (**{len(row.wrong)} of {len(row.wrong) + len(row.samples)} runs wrong**)" if row.wrong else ""
        )
        lines.append([tool, *(cell(table, row) if row.samples else "-" for _, cell in columns)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def pivot(title: str, tables: Sequence[Table], cell: Callable[[Table, Row], str]) -> str:
    """One number of several tables: a row for each tool, a column for each table. A tool need not be in all of them."""
    lines = [[title, *(table.title for table in tables)], ["---", *("---:" for _ in tables)]]
    for tool in dict.fromkeys(row.tool for table in tables for row in table.rows):
        found = [
            (table, next((row for row in table.rows if row.tool == tool and row.samples), None)) for table in tables
        ]
        lines.append([tool, *(cell(table, row) if row else "-" for table, row in found)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    cpu = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")),
        platform.machine(),
    )
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    mount = max(
        (line.split() for line in _lines("/proc/mounts")),
        key=lambda parts: len(parts[1]) * str(ROOT).startswith(parts[1]),
    )
    return {
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit,
        "cpu": f"{os.cpu_count()} cores, {cpu}",
        "kernel": platform.release(),
        "filesystem": mount[2],
        "python": platform.python_version(),
        "load": f"{os.getloadavg()[0]:.1f}",
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


@dataclass(frozen=True)
class Bench:
    """What a figure's script works with."""

    images: Path  # the folder of layouts (bench/images.py)
    work: Path  # an empty folder on the same file system, removed afterwards
    peers: Peers
    rounds: int
    results: Path  # the folder of what is recorded
    started: float  # by time.monotonic

    def layout(self, kind: str) -> Path:
        path = self.images / kind
        if not path.exists():
            raise SystemExit(f"{path} is not there: bench/images.py builds it")
        return path

    def peer(
        self, name: str, *args: str | os.PathLike[str], output: Path | None = None, daemons: Sequence[int] = ()
    ) -> Job:
        return Job(self.peers.command(name, *args), output, daemons, self.peers.environment(name))

    def tranship(self, *args: str | os.PathLike[str], root: Path | None = None, output: Path | None = None) -> Job:
        where = ["--root", str(root)] if root else []
        return Job([str(TRANSHIP), *where, *args], output, env=self.peers.home.environment())

    def warm(self, folder: Path) -> int:
        """Read all files below a folder, so that no first run waits for the disk; gives their size in bytes."""
        return sum(len(path.read_bytes()) for path in folder.rglob("*") if path.is_file())

    def record(self, figure: str, text: str, tables: Sequence[Table]) -> None:
        """Print a figure, and keep it and its samples for the report."""
        took = time.monotonic() - self.started
        found = {"machine": machine(), "took": took, "text": text, "tables": [asdict(table) for table in tables]}
        (self.results / f"{figure}.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
        print(f"\n{text}\n\n  {figure}: {took:.0f} s")

    def prepare(self, job: Job) -> None:
        """Run a job that makes something ready for the measured ones."""
        done = subprocess.run(
            [*(os.fspath(part) for part in job.command)],
            env=job.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"{job.command} ended with {done.returncode}: {done.stdout}{done.stderr}")


def _compile() -> None:
    """Compile the modules that are measured, as installing them would: a checkout may have none, or those of yesterday."""
    python = [str(TRANSHIP.parent / "python"), "-c"]
    code = "import compileall, tranship; assert compileall.compile_dir(tranship.__path__[0], quiet=1)"
    subprocess.run([*python, code], check=True)


@contextlib.contextmanager
def bench(description: str | None) -> Iterator[Bench]:
    """Reads a figure's options and gives it its folders."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="runs of each command (default 5)")
    parser.add_argument(
        "--quick", action="store_true", help="one round on the small images of `bench/images.py --quick`"
    )
    args = parser.parse_args()
    if not TRANSHIP.exists():
        raise SystemExit(f"{TRANSHIP} is not there: run this with the Python of the environment that `make` sets up")
    _compile()
    started, results = time.monotonic(), QUICK if args.quick else RESULTS
    results.mkdir(parents=True, exist_ok=True)
    tempfile.tempdir = str(results)  # daemons' stores too: /tmp may be memory
    images = ROOT / ".cache" / ("images-quick" if args.quick else "images")
    with tempfile.TemporaryDirectory(prefix="work-", dir=results) as work, temporary_home() as home:
        yield Bench(images, Path(work), Peers(home), 1 if args.quick else args.rounds, results, started)
