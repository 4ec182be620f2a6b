"""What the bot that follows rules makes of what it was told and of tools that fail."""

from __future__ import annotations

from datetime import datetime

from vb.agents.runtime.brain import Answer, Line, Tool, ToolCall, Words
from vb.agents.runtime.rules import RuleBot


async def answers(*lines: Line) -> list[Answer]:
    bot = RuleBot(lambda: datetime(2026, 1, 1, 12, 0))
    return [part async for part in bot.answer(lines, [Tool("transfer", "")])]


async def test_who_names_no_address_is_transferred_to_the_one_that_the_bot_was_told_of() -> None:
    told = Line("system", "Who wants that is transferred to sip:bob@example.org.")
    found = await answers(told, Line("user", "Please transfer me."))
    assert found[-1] == ToolCall("rule-1", "transfer", {"target": "sip:bob@example.org"})
    found = await answers(told, Line("user", "Transfer me to sip:eve@example.org, please"))
    assert found[-1] == ToolCall("rule-1", "transfer", {"target": "sip:eve@example.org"})
    assert await answers(Line("user", "Transfer me.")) == [Words("Tell me the address to transfer you to.")]


async def test_a_tool_that_fails_is_spoken_of_and_one_that_works_is_not() -> None:
    assert await answers(Line("tool", "error: not a SIP leg")) == [Words("Sorry, that did not work.")]
    assert await answers(Line("tool", "done")) == []
