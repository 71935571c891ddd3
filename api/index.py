"""The page at /: a list of the routes in plain HTML, without anything from outside (a ship is offline)."""

from html import escape

from fastapi import FastAPI

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Watchkeeper API</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse; width: 100% }}
td, th {{ text-align: left; padding: .4rem .8rem .4rem 0; border-bottom: 1px solid #8886; vertical-align: top }}
code {{ font-size: .95em }}
</style></head><body>
<h1>Watchkeeper API {version}</h1>
<p>Read only. The full description for programs is <a href="/openapi.json">/openapi.json</a>.</p>
<table><thead><tr><th scope="col">Path</th><th scope="col">What it answers</th></tr></thead><tbody>
{rows}
</tbody></table></body></html>
"""


def index_page(app: FastAPI) -> str:
    """The page; paths without parameters are links."""
    rows = []
    for path, item in app.openapi()["paths"].items():
        text = str(item.get("get", {}).get("description", "")).partition("\n")[0]
        shown = f"<code>{escape(path)}</code>"
        link = shown if "{" in path else f'<a href="{escape(path)}">{shown}</a>'
        rows.append(f"<tr><td>{link}</td><td>{escape(text)}</td></tr>")
    return _PAGE.format(version=escape(app.version), rows="\n".join(rows))
