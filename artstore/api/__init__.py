"""Door: the names and verbs that users of W&B Artifacts know, over a store of this machine.

Rules of this floor. It is thin: every answer comes from `artstore.store.Store`, and there is no SQL, hashing or layout
here. Its parts, from the ground up: `settings` (the environment), `background` (the queue of what is logged), `stores`
(what this process has open), `contents` (what is put together); an artifact, layer on layer: `lives`, `facts`,
`labelled`, `holding`, `drafting`, `artifact`; then `run`, `checkpoint`, `script` (what a script calls on the module),
`public` (Api).

Chose program order: what one process logs to a store is committed in the order of the calls, and whatever it asks
afterwards waits until that is done, because a laptop has no reason to answer like a distant server; instead of
letting readers overtake writers. Look again when an answer has to wait for minutes.

Chose one Artifact class for two lives, a Draft and then a version, because its users know it so; instead of two, which
every floor below has. Look again when nobody remembers W&B.

Chose to load the store when the first verb needs it, since SQLite and what stands on it take three times as long as the
whole of this floor, and a script that is only parsing its arguments should not wait for it.
"""
