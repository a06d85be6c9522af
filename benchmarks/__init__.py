"""Benchmarks: artstore beside the tools that it is measured against.

    python -m benchmarks            the four workloads and the start-up rows, with their targets
    python -m benchmarks scale      growth from 10^3 to 10^6 entries and from 1 to 1,000 versions
    python -m benchmarks soak       long fault runs, by name

    __main__ → suite, startup, listing, scale, soak → laps → subject, yardsticks → measure → workloads, volumes
                       syncing → senders
                       rows, table, machine: what was measured, judged and written down

Decisions:

- Pairs in laps. In one lap every side does the same operation, one after the other, and every second lap in the
  opposite order; a ratio is taken within the lap, and the median of the laps' ratios is judged. Instead of one block of
  runs a side: on a virtual machine the price of a fresh page drifts by a factor of five within minutes.
- The first lap is thrown away, since it pays for compiled modules; and before each operation as much memory is made
  free as it will fill. Without that whoever came after a deletion was up to four times faster.
- Whole processes, both durable: a copy is `cp -r` and `sync`; what a tool does not sync itself is synced inside its
  time. Every `get` is followed by `sync`, on all sides.
- A file system of their own, on a loop device, wherever root can mount one: instead of the system's folder for
  temporary files, whose journal, age and neighbours nobody knows. The table says which it was.
"""
