// A receiver of webhooks on this machine that verifies with the published libraries standardwebhooks
// and svix and remembers what it saw. Driven by tests/api/harness/verifier.py.
//
// Started without arguments it prints its port and ends when its input does. POST /NAME is a
// delivery. PUT /-/NAME sets how that name is treated: {"secrets": […], "status": 200, "headers":
// {…}, "body": "…", "hang": true}. GET /-/NAME gives what was seen there so far: for each its
// headers, its body and, for each library, "ok" or what it said, with the secret that fits first.
"use strict";

const http = require("node:http");
const standard = require("standardwebhooks");
const svix = require("svix");

const SEEN_MAX = 20000;
const BODY_MAX = 8 << 20;
const names = new Map();

function state(name) {
  if (!names.has(name)) {
    names.set(name, { secrets: [], status: 200, headers: {}, body: "", hang: false, seen: [] });
  }
  return names.get(name);
}

// "ok" with the number of the secret, or the last complaint.
function verdict(Webhook, secrets, body, headers) {
  let why = "no secret";
  for (const [index, secret] of secrets.entries()) {
    try {
      new Webhook(secret).verify(body, headers);
      return { ok: true, secret: index };
    } catch (error) {
      why = String(error.message);
    }
  }
  return { ok: false, why };
}

function delivery(at, request, body, response) {
  if (at.seen.length < SEEN_MAX) {
    at.seen.push({
      at_ms: Date.now(),
      headers: request.headers,
      body,
      standardwebhooks: verdict(standard.Webhook, at.secrets, body, request.headers),
      svix: verdict(svix.Webhook, at.secrets, body, request.headers),
    });
  }
  if (!at.hang) {
    response.writeHead(at.status, at.headers).end(at.body);
  }
}

function control(at, request, body, response) {
  if (request.method === "PUT") {
    Object.assign(at, JSON.parse(body));
  }
  response.writeHead(200, { "Content-Type": "application/json" });
  response.end(JSON.stringify(at.seen));
}

const server = http.createServer((request, response) => {
  const chunks = [];
  let size = 0;
  request.on("data", (chunk) => {
    size += chunk.length;
    if (size <= BODY_MAX) {
      chunks.push(chunk);
    }
  });
  request.on("end", () => {
    const body = Buffer.concat(chunks).toString("utf8");
    const path = request.url.split("/").slice(1);
    if (path[0] === "-") {
      control(state(path[1]), request, body, response);
    } else {
      delivery(state(path[0]), request, body, response);
    }
  });
});
server.listen(0, "127.0.0.1", () => process.stdout.write(`${server.address().port}\n`));
process.stdin.on("end", () => process.exit(0)).resume();
