"""The W&B-shaped door: thin over the Store, no SQL, hashing or layout in it."""
