"""Three tools spell the eleven states in three ways."""

from sockmon.model.states import STATE_SLOTS, TcpState

NODE_EXPORTER = (
    "established syn_sent syn_recv fin_wait1 fin_wait2 time_wait close close_wait last_ack listen"
    " closing"
)
SS = (
    "ESTAB SYN-SENT SYN-RECV FIN-WAIT-1 FIN-WAIT-2 TIME-WAIT UNCONN CLOSE-WAIT LAST-ACK LISTEN"
    " CLOSING"
)


def test_states_are_numbered_as_in_the_kernel() -> None:
    assert [state.value for state in TcpState] == list(range(1, STATE_SLOTS))


def test_states_are_spelled_as_each_tool_does() -> None:
    assert [state.label for state in TcpState] == NODE_EXPORTER.split()
    assert [state.spelled("sockmon") for state in TcpState] == NODE_EXPORTER.split()
    assert [state.spelled("ss") for state in TcpState] == SS.split()
    assert [state.spelled("netstat") for state in TcpState] == NODE_EXPORTER.upper().split()
