"""What people do, under one name on every platform."""

ACTIONS = (
    "impression",
    "view",
    "play",
    "click",
    "like",
    "comment",
    "share",
    "favourite",
    "follow",
    "rate",
    "poll_vote",
    "challenge_join",
    "lottery_enter",
    "reward_grant",
    "reward_redeem",
    "cart",
    "purchase",
    "hide",
    "report",
    "unlike",
    "unfavourite",
    "unfollow",
)
"""Every action an interaction may have. Undo is an action of its own."""

UNDONE_BY = {"like": "unlike", "favourite": "unfavourite"}
"""Action on a content -> what takes it back."""

CONTENTLESS_ACTIONS = ("follow", "unfollow")
"""Actions that need no content_id."""
