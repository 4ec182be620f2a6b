"""Settings of the server's own agents."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, SecretStr

from vb.config.providers import Key
from vb.settings import Group, check_url, setting


class AgentConfig(Group):
    """Which language model answers for an agent of the server's own."""

    base_url: Annotated[str, AfterValidator(check_url)] = setting(
        "OPENAI_BASE_URL",
        "chat API in the manner of OpenAI's, with its version; empty = agents follow rules",
        "",
    )
    api_key: Key = setting("OPENAI_API_KEY", "its key", SecretStr(""), shown="")
    model: str = setting("VB_AGENT_MODEL", "model that answers where a request names none", "")
