"""HTTP: a remote that is another store, behind a server (`artstore serve`).

wire        what both sides say, and how it is written
opening     a server by its URL
connection  requests, and what can go wrong with them
remote      the logs
shelf       the objects of a log
sending     blobs on their way there; uploading: a large one
receiving   blobs on their way here; patching: a large one that was changed
chunked     what a large one over there consists of
stretches   parts of blobs, by which a server shows that it has them
"""
