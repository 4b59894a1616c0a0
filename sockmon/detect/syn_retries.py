"""How long connect() waits: every unanswered SYN doubles the time until the next."""

_FIRST_SECONDS = 1.0  # TCP_TIMEOUT_INIT
_LONGEST_SECONDS = 120.0  # TCP_RTO_MAX
_MOST_RETRIES = 255  # more than either sysctl takes (MAX_TCP_SYNCNT is 127)


def seconds_to_give_up(tries: int, next_try: float, retries: int, linear: int = 0) -> float:
    """Seconds until the kernel gives up a SYN_SENT socket and connect() fails with ETIMEDOUT.

    tries: retransmissions so far; next_try: seconds until the timer fires.
    retries, linear: tcp_syn_retries, and tcp_syn_linear_timeouts (0 before Linux 6.5).

    net/ipv4/tcp_timer.c, each time the timer fires: tcp_write_timeout() gives up after
    retries + linear retransmissions, or once as long has gone by as `retries` of doubling would
    have taken (retransmits_timed_out()), whichever comes first. Else tcp_retransmit_timer() sends
    again, and doubles the wait but for the first `linear` times. Measured on 6.18 with retries of
    1 to 3: 3, 7, 15 s with linear 0; 4, 8, 16 s with 1; 3, 9, 17 s with 2; 3, 7, 19 s with 4.
    """
    retries, linear = min(retries, _MOST_RETRIES), min(linear, _MOST_RETRIES)
    patience = sum(_wait(n, 0) for n in range(retries + 1))
    gone_by = sum(_wait(n, linear) for n in range(tries + 1))  # when the timer fires
    left = next_try
    while tries < retries + linear and gone_by < patience:
        tries += 1
        left += _wait(tries, linear)
        gone_by += _wait(tries, linear)
    return left


def seconds_to_connect(retries: int, linear: int = 0) -> float:
    """Seconds that connect() takes to fail when nobody answers."""
    return seconds_to_give_up(0, _FIRST_SECONDS, retries, linear)


def _wait(tries: int, linear: int) -> float:
    """Seconds between the so-manieth retransmission and the next; 0 is the first SYN."""
    return min(_FIRST_SECONDS * 2.0 ** min(max(0, tries - linear), 10), _LONGEST_SECONDS)
