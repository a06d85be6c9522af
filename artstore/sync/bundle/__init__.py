"""Bundles: a slice of logs with its objects in one file, for where no network leads.

A bundle is a tar, so `tar xf` gets the data out without artstore. Its members, where `<n>` counts projects from 0:

    artstore-bundle/<hex>.json          the head, first of all: what it is and of which projects
    log/<n>/<count>.<hex>.json          slots of a log, as they stand there
    offers/<n>/<count>.<hex>.json       ops that no upstream has accepted, in whole transactions
    manifests/<n>/<random>              encodings of manifests, a MessagePack list
    packs/<n>/<random>.tar  .idx        small blobs together, and where in the tar each lies
    blobs/<n>/<hex>.<random>            a large blob
    patches/<n>/<hex>.<random>          one as what is new in it, where the other side has it as it was before

`<hex>` is the BLAKE3 of the member's bytes. Where the file is split, `<file>.001`, `<file>.002` and so on hold the same
bytes one behind the other.

A *receipt* says what a store has, so that the next bundle for it carries only what it lacks.

Chose to carry blobs and manifests anew, and not under the names that the slots have for them in a depot, because a
store keeps its bytes in other packs than a depot does, and a bundle has only what the other side lacks; so a bundle is
not a depot in a file. Look again when bundles are signed.
"""
