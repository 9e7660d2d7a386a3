"""What programs ask of the page: its named endpoints, for `gradio_client` and as MCP tools.

In go plain values, checked as the forms of the tabs check theirs; out come answers with a document
as it is stored and the addresses of its pictures. Another endpoint is a function in `functions`
with a docstring and a line in `register.ENDPOINTS`. No torch before something runs.
"""
