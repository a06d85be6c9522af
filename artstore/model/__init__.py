"""What things are: frozen values and pure functions, with no disk, clock or network.

`digest` names bytes, `paths` and `names` are the gates that text passes, `manifest` is what a version holds, `records`
are the ops that a log is made of, `state` is what they fold to, and `fold` says how.

Decisions
    Ops are JSON with sorted keys / because they are read for years, by people too, and a digest needs one spelling /
    instead of a binary form / look again when decoding them is what a rebuild waits for.
    One fold over a `View` / because the catalog and a rebuild in memory must not have two sets of rules / instead of
    SQL that changes state by itself / look again when a fold needs to see more than a few rows.
    Ids are text and digests are bytes / because ids are few and are shown, digests are many and are compared.
"""
