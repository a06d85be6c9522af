"""Objects: named immutable bytes in a folder, in a bucket or on a host, with no process of artstore's there.

A depot lies on this, and it knows nothing of depots. `interface` says what every place promises; each scheme is one
module, imported when the first such URL is met:

    scheme      put if absent                             durable by
    file://     a synced file is given its name by link   fsync of the file and of its folder
    s3://       PUT with `If-None-Match: *`               the service's answer
    gs://       upload with generation 0                  the service's answer
    sftp://     a synced file is given its name by link   fsync of the file and of its folder, on the host

Names are made of small letters, digits, `.`, `_` and `-`, in parts with `/` between, so that every place can hold them
as they are. Credentials are found as each service's own tools find them, and never stand in a URL.
"""
