"""Imports: what other tools have left on this machine becomes versions and runs of a Store.

    protobuf     messages, as far as they have to be read
    wandb_log    the transaction log of a W&B run: frames and records
    wandb_runs   what such logs say: runs, and the artifacts that they logged
    wandb_files  the bytes of those artifacts, checked
    wandb        the verb
    reports      what an import did, and what it had to leave

Nothing of the other tool has to be installed. What is imported keeps its dates and its order; importing once more adds
only what is new. Nothing is made up: what cannot be carried over is in the report.
"""
