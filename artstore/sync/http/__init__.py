"""HTTP: a remote that is another store, behind a server (`artstore serve`).

wire        what both sides say, and how it is written
connection  requests, and what can go wrong with them
remote      the logs
shelf       the objects of a log
stretches   parts of blobs, by which a server shows that it has them
"""
