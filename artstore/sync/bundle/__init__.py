"""Bundles: a slice of logs with its objects in one file, for where no network leads.

A bundle is a tar, so `tar xf` gets the data out without artstore. Its members, where `<n>` counts projects from 0:

    artstore-bundle/<hex>.json          the head, first of all: what it is and of which projects
    log/<n>/<count>.<hex>.json          slots of a log, each with its number, its digest and its ops
    offers/<n>/<count>.<hex>.json       ops that no upstream has accepted, in whole transactions
    manifests/<n>/<random>              encodings of manifests, a MessagePack list
    packs/<n>/<random>.tar  .idx        small blobs together, and where in the tar each lies
    blobs/<n>/<hex>.<random>            a large blob

`<hex>` is the BLAKE3 of the member's bytes. Where the file is split, `<file>.001`, `<file>.002` and so on hold the same
bytes one behind the other.

A *receipt* says what a store has, so that the next bundle for it carries only what it lacks.

Chose slots without the objects that they name in a depot, because a store that follows a depot's log does not keep
those names, and one that owns its log never had any; so a bundle is not a depot in a file, and its slots are taken on
the word of whoever made it. Look again when bundles are signed.
"""
