from vb.web.errors import CannotConnect, HandshakeFailed, UrlRefused, WebSocketClosed
from vb.web.failures import provider_failure


def test_refused_handshake_has_the_category_of_its_status() -> None:
    failure = provider_failure("deepgram", HandshakeFailed("status 401", 401))
    assert failure.category == "permanent_auth"
    assert str(failure) == "deepgram: status 401"


def test_address_that_may_not_be_reached_is_wrong_input() -> None:
    assert provider_failure("pipecat", UrlRefused("not allowed")).category == "permanent_input"


def test_lost_connections_are_worth_another_try() -> None:
    assert provider_failure("azure", CannotConnect("refused")).category == "retryable"
    assert provider_failure("azure", WebSocketClosed(1011)).category == "retryable"
