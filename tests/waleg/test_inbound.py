from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from vb.sip.tasks.endpoint import SipCall
from vb.waleg.inbound import is_whatsapp


@pytest.mark.parametrize("setting", ["meta.vc", "meta.vc.", "META.vc"])
@pytest.mark.parametrize("host", ["meta.vc", "wa.meta.vc", "wa.meta.vc.", "WA.Meta.VC"])
def test_a_domain_is_the_same_with_and_without_its_final_dot(setting: str, host: str) -> None:
    assert is_whatsapp(call_from(host), setting)


@pytest.mark.parametrize("host", ["notmeta.vc", "meta.vc.evil.example"])
def test_a_domain_that_only_looks_like_it_is_another(host: str) -> None:
    assert not is_whatsapp(call_from(host), "meta.vc.")


def call_from(host: str) -> SipCall:
    invite = SimpleNamespace(from_=SimpleNamespace(uri=f"sip:15550100@{host}"))
    return cast("SipCall", SimpleNamespace(transport="tls", invite=invite))
