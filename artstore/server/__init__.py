"""Door: pages to look at a store with, the same as JSON, and the logs that a store keeps for others.

    links     where a page is, for every thing that has one
    looks     what each page shows: one function asks the store, one frozen value answers
    remotes   the same of the places that the store replicates to
    asked     what a request says
    previews  the beginning of a file, as text, table or picture
    pages     the values as HTML, by templates that escape everything
    downloads the bytes of a file, as something to keep and nothing to run
    guard     who may ask, and what every answer says about itself
    app       all of it, as one ASGI application
    listening where it may listen, and the loop that answers
    serving   the pages and the API together, for who has a token
    api       what other stores push and pull (see `artstore.sync.http.wire`)
    openapi   the API, for tools
    observing the log of requests, and numbers for Prometheus
    bodies    what comes of a request
    patience  how long it waits for who is slow

`/api` in front of a page's address gives the value that the page was made from, so there is nothing on a page that a
program cannot have. The door keeps nothing: what it shows it asks of the store, at every request.

Decisions:

- Starlette and Jinja, pages made here: they open at once, work without scripts and without a network, and need no
  build. Instead of an application in the browser. Two scripts add what HTML has not: copying, and the drawing of the
  lineage, which dagre lays out (`static/dagre` is @dagrejs/dagre 3.1.3 as npm has it, with its licence).
- On pages everything is read, nothing is changed: no cookie, no form that writes. What a page of another site could
  make a browser do here is refused all the same (`guard`).
- The pages of a server with tokens are for tokens for all projects: a lineage, a search and a list tell of projects
  that a token for one does not name. Instead of leaving things out of each page, which would be forgotten on one.
- The API is Starlette's alone, and its description is written by hand: its bodies are bytes, of which FastAPI's would
  say nothing.
- What people keep in a store is taken to be hostile: names and metadata are text, whatever they look like; a file is
  shown as text that we make, or as a picture of a kind that cannot hold a script; its bytes leave as an attachment.
"""
