"""Delta: of a large blob that was changed, only what is new is moved.

    chunks  a blob in stretches that are cut where its content says, each with a checksum
    plan    which stretches of a blob the other side has in another blob
    patch   a blob as what is copied from another one and what is new, for who sends it

Who has both blobs, or one of them and a list of the other's chunks, finds out what is the same in them; the receiver
makes the blob anew from the one it has, and knows by its digest that it is right. Checksums only say where to look: one
that is the same by chance, or was made so, costs a repetition with all bytes.

Decisions:

- The list of chunks is made when somebody asks for it: that takes 0.3 s for each GiB, and most blobs are never asked
  about. Instead of keeping it with each blob, which every first push would pay for. Look again when a server spends its
  days on the lists of the same blobs.
- Depots have no part in it. Nobody is there to make a list, so each push would have to make it and to put it beside the
  blob, one object more for each, for the sake of those who pull a changed blob and have kept the one before; and what
  is pushed would still be whole. Look again when somebody pulls large blobs from a depot over a slow line.
"""
