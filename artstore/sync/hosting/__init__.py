"""Hosting: a store keeps the logs of its projects for others, and is itself the first who follows them.

    hosted    the logs: what was claimed, and who may claim next
    own       these logs, as the store itself follows them
    blobs     what projects have brought of blobs, and may ask of them
    usage     how many bytes each project takes
    quotas    and how many it may take
    closure   whether a slot brings all that its versions need
    incoming  blobs on their way in, many small ones together or a large one bit by bit
    pins      what was sent, or said to be there, stays until it is named

Nothing here knows of HTTP: `artstore.server` asks it what clients want to know. In the store's folder `hosted/` lie the
slots and the manifests, named and written as in a depot's folder; blobs are the store's own. What is committed on the
server's machine is claimed as anybody's is, when a client asks for the log the next time.

Decisions:

- The slots are kept as their claimers wrote them, beside the journal that has the same ops: everybody checks the chain
  by the bytes. Instead of making them anew from the journal, which would have to keep what it does not understand.
- A store that follows a log elsewhere does not keep that project's log for others: no chains.
"""
