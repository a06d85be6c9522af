"""Sync: how versions travel between stores. All of it may be deleted, and what is below does not notice.

A *remote* has a log for each project (`protocol`): slots that are claimed one after the other. A *depot* is a remote
without a process: objects in a folder or a bucket (`depots`, `objects`). A *server* is a store that keeps the logs of
its projects for others (`hosting`), who ask it over HTTP (`http`). One remote is the *upstream*: its log is the
order in which ops count, so numbers, aliases and `latest` come out alike for all who follow it. A depot that is not
the upstream can hold a copy of that log, and what waits for the upstream (`mirrors`). `pull` counts its slots here,
`push` offers it what waits here, `connect` fetches the bytes of a file when somebody needs them. Of a large file that
was changed a server and its client move what is new (`delta`). `depots.collect` frees what no version needs in a depot,
and `recover` gives back to a remote what it has lost.

Who is asked moves something, once (`rounds`); `follow` goes on doing it, asleep in between, and `nudge` lets a commit
begin that in the background. `selection` says which ops a choice of collections takes along.

What a store needs to know to be made anew, which slots it has counted, is in its own journal; what lies in `sync/` of
its folder is only a help, and can be lost.

Chose to note remotes in `remotes.toml` in the store's folder, because which logs a store follows is a matter of that
store: one that is moved keeps its remotes, and another one on the same machine has others; instead of a file of the
user's that would have to know stores by their paths. Look again when many stores of one machine share remotes. The
file holds no token and no password. That one is noted as the upstream is all that is asked of it below
(`artstore.lifecycle.ordering`).
"""
