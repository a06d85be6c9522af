"""Where things are kept: this machine's disk, and nothing else.

On the disk (format 1)
    format.json             format number, oldest reader, store id, and the host if the store is for one alone
    ops/<project>/<seq>     the log: a file for each transaction, `<first>-<last>` for a segment     (see oplog)
    blobs/blake3/<2>/<62>   large blobs, a read-only file each                                       (see whole)
    packs/<session>-*.tar   small blobs, many in a POSIX tar                                         (see packs)
    catalog.db              SQLite: what the log folds to, manifests as rows, where bytes are        (see schema)
    stat_cache/             which files were hashed already; may be deleted                          (see stat_cache)
    locks/  tmp/            live sessions, and what they have not finished                           (see sessions)
    runs/                   which runs have a live process on this machine                           (see run_locks)
    trash/  quarantine/     what `gc` took out, for a while; what was found damaged, for ever

The order of every commit: bytes synced, named, folders synced, rows; then, under the write lock, the log's file synced
and linked, which is the commit, and the catalog after it. Whoever finds the log ahead of the catalog rolls it forward.

Decisions
    The log is the truth and the catalog can be lost / because one file that is written once cannot be half changed /
    instead of trusting a database with the only copy / look again never.
    Small blobs in packs / because a file each costs a sync, an inode and a create each / instead of one file a blob /
    look again when file systems make a thousand durable files as cheap as one.
    Epochs and kernel locks for `gc` / because a lock is free only when its holder is dead, whatever clocks say /
    instead of leases and grace periods / look again when sessions outlive machines.
    What was written is not read again before it gets its name / because both checksums are made of the very bytes that
    go to the disk, so a bit that flips later is seen by whoever reads, and a read at once would come out of the same
    memory / instead of a second read of everything; `verify --fast` of the new version is that, for who wants it / look
    again when machines without ECC lose more than their disks do.
    Condemned rows count as absent for new sessions / because then nobody has to be asked before something is freed.
"""
