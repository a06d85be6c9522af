"""References: bytes that stay where a URI says.

A reference is recorded with what the owner of the bytes says of their present state, and never copied. Later the same
bytes come back, or an error that says what became of them.

    scheme               checksum                  fetched                               found out by
    file://              BLAKE3 of the content     the file                              the digest of all bytes
    http:// https://     ETag, else the URI        by GET                                ETag; else size, date, address
    s3://                ETag                      the recorded version, else by ETag    If-Match on the service
    gs://                ETag                      the recorded generation               the generation
    az:// abfs:// https://ACCOUNT.blob.core.windows.net/
                         ETag                      the recorded version, else by ETag    If-Match on the service
    any other            the URI                   not                                   -

What is fetched has the recorded size in every case, and the recorded MD5 where its owner told one. Credentials, hosts
and certificates are configured as fsspec and the services' own libraries say: `~/.config/fsspec/*.json`, `AWS_…`,
`GOOGLE_APPLICATION_CREDENTIALS`, `AZURE_STORAGE_…`, `SSL_CERT_FILE`, `~/.netrc`; a URI never holds any.

The family of a scheme is one module, imported when the first such URI is met, with two functions:

    expand(wanted) -> list[ReferenceEntry]
    fetch(entry) -> Generator[bytes]

Sources: RFC 9110, section 8.8.3 (entity tags are not digests, and may be weak) and 15.4 (redirects); "Using versioning
in S3 buckets" in the Amazon S3 User Guide; "Object Versioning" in the Google Cloud Storage documentation; "Blob
versioning" in the Azure Storage documentation.
"""
