"""The dashboard: pages for people on the monitoring port, made on the server, read-only, without outside assets.

`views` collects what a page shows, `chart` draws the map of accounts, `pages` renders templates; every text is
escaped by the template engine.
"""
