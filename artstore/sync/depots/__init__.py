"""Depots: a remote that is objects in a folder or a bucket, with no process of artstore's there.

    depot        the log: slots, claimed one after the other
    shelf        the objects that slots name, and what is known of them here (`known`)
    index        where in a pack each blob lies; `indexes` has what many packs say in one object
    checkpoints  many slots in one object, for who follows from the beginning
    sealed       how these helps are written, so that a damaged one is none
    proof        whether bytes are there just now
    collect      what no version needs is freed; `needs` and `absent` say what is needed, and what is gone already
    join         many small packs become few
    unnamed      what was put there for a slot that is still to be claimed
    lost         what should be there and is not

What lies where in a depot stands in `depot`.
"""
