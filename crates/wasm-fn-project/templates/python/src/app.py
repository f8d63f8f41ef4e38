"""The function {{name}}: a wasi:http handler that answers every request with a greeting."""

from componentize_py_types import Ok
from wit_world import exports
from wit_world.imports.types import Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam


def answer(path: str) -> str:
    return f"hello from {{name}}, you asked for {path}\n"


class IncomingHandler(exports.IncomingHandler):
    def handle(self, request: IncomingRequest, response_out: ResponseOutparam) -> None:
        headers = Fields.from_list([("content-type", b"text/plain; charset=utf-8")])
        response = OutgoingResponse(headers)
        body = response.body()
        ResponseOutparam.set(response_out, Ok(response))
        # The stream is the body's child and must be gone before the body is finished.
        with body.write() as stream:
            stream.blocking_write_and_flush(answer(request.path_with_query() or "/").encode())
        OutgoingBody.finish(body, None)
