// Asks a node with node's `fetch` or `http`: `client.mjs fetch|http BASE PATH...`.
//
// Each path gets bodies of several sizes, with a content-length and chunked, several of each over connections
// that are kept. Prints one line for each request that was not answered with 200, or by `echo` with another
// body, and how many requests there were. Ends with 1 if there is such a line.

import http from "node:http";

const SIZES = [0, 1, 64 << 10, 1 << 20];
const TIMES = 3;
const CHUNK = 16 << 10;

function* chunks(body) {
  for (let start = 0; start < body.length; start += CHUNK) {
    yield body.subarray(start, start + CHUNK);
  }
}

const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

const libraries = {
  async fetch(url, body, chunked) {
    const stream = new ReadableStream({
      start(controller) {
        for (const chunk of chunks(body)) controller.enqueue(chunk);
        controller.close();
      },
    });
    const options = chunked ? { body: stream, duplex: "half" } : { body };
    const response = await fetch(url, { method: "POST", ...options });
    return [response.status, Buffer.from(await response.arrayBuffer())];
  },
  http(url, body, chunked) {
    return new Promise((resolve, reject) => {
      const headers = chunked ? { "transfer-encoding": "chunked" } : { "content-length": body.length };
      const request = http.request(url, { method: "POST", agent, headers }, (response) => {
        const parts = [];
        response.on("data", (part) => parts.push(part));
        response.on("end", () => resolve([response.statusCode, Buffer.concat(parts)]));
        response.on("error", reject);
      });
      request.on("error", reject);
      for (const chunk of chunks(body)) request.write(chunk);
      request.end();
    });
  },
};

const [library, base, ...paths] = process.argv.slice(2);
const post = libraries[library];
let asked = 0;
let failed = 0;
for (const path of paths) {
  for (const size of SIZES) {
    const body = Buffer.from(Uint8Array.from({ length: size }, (_, index) => index % 251));
    for (const chunked of [false, true]) {
      for (let number = 0; number < TIMES; number++) {
        asked += 1;
        let fault;
        try {
          const [status, answer] = await post(base + path, body, chunked);
          if (status !== 200) fault = `status ${status}`;
          else if (path === "/echo" && !answer.equals(body)) fault = `${answer.length} bytes came back`;
        } catch (error) {
          fault = `${error} ${error.cause ?? ""}`;
        }
        if (fault) {
          failed += 1;
          console.log(`${path}, ${size} bytes, chunked ${chunked}, request ${number}: ${fault}`);
        }
      }
    }
  }
}
console.log(`${asked} requests`);
process.exit(failed ? 1 : 0);
