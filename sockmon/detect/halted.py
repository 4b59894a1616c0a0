"""A process that stands still: stopped, in a debugger's hands, frozen, or in the kernel.

Its inaction is then no bug, and its stack shows nothing: who halted it must let it continue. Added
to every finding whose owner would have to act.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from sockmon.detect.commands import restart_line
from sockmon.detect.evidence import who
from sockmon.detect.registry import BY_NAME
from sockmon.language import Text, joined
from sockmon.model.finding import Advice, Command, Finding
from sockmon.model.owner import Owner, Process
from sockmon.text import is_container_id

#: So many PIDs are named.
_NAMED = 5


def explained(finding: Finding) -> Finding:
    """Add to a finding that a process of its owner stands still, and what helps."""
    owner = finding.owner
    detector = BY_NAME[finding.detector]
    # A process that stands still opens nothing: if its descriptors are used up, that is older.
    if not detector.owner_acts or detector.fault == "has_no_descriptors":
        return finding
    if owner is None or finding.note:
        return finding
    halted = [process for process in owner.processes if process.halt is not None]
    if not halted:
        return finding
    first = halted[0].halt
    assert first is not None
    same = [process for process in halted if process.halt and process.halt.kind == first.kind]
    pids = _pids(same)
    are = Text("is" if len(same) == 1 else "are", "")
    match first.kind:
        case "stopped":
            why = Text(f"{pids} {are} stopped (SIGSTOP)", f"{pids.zh} 已被暂停（SIGSTOP）")
            advice = _go_on(owner, same, pids, are)
        case "traced":
            by = Text(f", PID {first.tracer}", f"（PID {first.tracer}）")
            by = by if first.tracer else Text("")
            why = Text(f"{pids} {are} halted by a debugger{by}", f"{pids.zh} 被调试器{by.zh}暂停")
            advice = _detach(first.tracer)
        case "frozen":
            why = Text(f"{pids} {are} frozen", f"{pids.zh} 已被冻结")
            advice = _thaw(owner)
        case "uninterruptible":
            why = Text(
                f"{pids} {'waits' if len(same) == 1 else 'wait'} in the kernel (state D)",
                f"{pids.zh} 阻塞在内核里（D 状态）",
            )
            advice = _look_at_storage(same[0])
    others: Iterable[Advice] = finding.advice
    if first.kind != "uninterruptible":
        others = (its for its in others if its.purpose == "look")
    return replace(
        finding,
        summary=finding.summary + Text(f"; {why}", f"；{why.zh}"),
        advice=(advice, *others),
    )


def _pids(processes: Sequence[Process]) -> Text:
    shown = [str(process.pid) for process in processes[:_NAMED]]
    more = [Text(f"{len(processes) - _NAMED} more", f"另外 {len(processes) - _NAMED} 个")]
    more *= len(processes) > _NAMED
    listed = joined([*shown, *more], ", ", "、")
    return Text(f"{'PID' if len(processes) == 1 else 'PIDs'} {listed}", f"进程 {listed.zh}")


def _go_on(owner: Owner, processes: Sequence[Process], pids: Text, are: Text) -> Advice:
    name, line = who(owner), restart_line(owner)
    it = Text("it" if len(processes) == 1 else "them", "")
    how = f": {line}" if line else ""
    last = Text(f" If that does not help, restart it{how}.", f"如果没有用，再重启它{how}。")
    return Advice(
        Text(
            f"{pids} of {name} {are} stopped, by a signal (SIGSTOP) or ^Z. Let {it} go on: nothing "
            "is lost by that.",
            f"{name.zh} 的{pids.zh} 被信号（SIGSTOP）或 ^Z 暂停了。让它继续运行即可，不会丢失任何"
            "东西。",
        )
        + last,
        Command("kill -CONT " + " ".join(str(each.pid) for each in processes), "here", "changes"),
        "stop",
    )


def _detach(tracer: int | None) -> Advice:
    command = None if tracer is None else Command(f"ps -fp {tracer}", "here")
    return Advice(
        Text(
            "A debugger (gdb, strace) holds it. See whose that is, and detach or end it: the "
            "process then goes on, and needs no restart.",
            "调试器（gdb、strace）让它停住了。查看是谁的调试器，让其 detach 或退出：进程随后会继续"
            "运行，不用重启。",
        ),
        command,
        "stop",
    )


def _thaw(owner: Owner) -> Advice:
    unit, line = owner.unit, None
    if unit and is_container_id(unit) and owner.manager.kind in {"docker", "podman"}:
        line = f"{owner.manager.kind} unpause {unit}"
    elif unit and unit.endswith((".service", ".scope")) and owner.manager.kind == "system":
        line = f"systemctl thaw {unit}"
    return Advice(
        Text(
            f"The cgroup of {who(owner)} is frozen (docker pause, systemctl freeze). Thaw it; "
            "nothing is lost by that.",
            f"{who(owner).zh} 的 cgroup 被冻结了（docker pause、systemctl freeze）。解冻即可，不会"
            "丢失任何东西。",
        ),
        Command(line, "here", "changes") if line else None,
        "stop",
    )


def _look_at_storage(process: Process) -> Advice:
    return Advice(
        Text(
            f"PID {process.pid} waits in the kernel and takes no signal, as a rule not even "
            "SIGKILL: for a disk, a network file system (NFS) or a driver. Until that answers, a "
            "restart hangs. See where it waits, and look at the storage and at dmesg.",
            f"进程 {process.pid} 阻塞在内核里，任何信号（包括 SIGKILL）都不起作用：在等磁盘、"
            "网络文件系统（NFS）或驱动。它们恢复之前，重启也会卡住。查看它等在哪里，"
            "检查存储和 dmesg。",
        ),
        Command(f"cat /proc/{process.pid}/stack", "here"),
        "stop",
    )
