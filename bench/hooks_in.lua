-- Signed webhooks for wrk, each with an id of its own. wrk passes what follows "--": FILE HOST
--   FILE   first line: path; second: body with @ where the id stands; then "id signature", one a line
-- When the file is used up the thread stops: a second delivery would be cheaper than a first.

local threads = 0

function setup(thread)
    thread:set("number", threads)
    threads = threads + 1
    thread:set("all", threads)
end

local ids, signatures, turn, before, behind, path = {}, {}, 0, "", "", ""

function init(args)
    local lines = io.lines(args[1])
    path = lines()
    before, behind = lines():match("^(.-)@(.*)$")
    for line in lines do
        local id, signature = line:match("^(%S+) (%S+)$")
        ids[#ids + 1] = id
        signatures[#signatures + 1] = signature
    end
    wrk.headers["Content-Type"] = "application/json"
    wrk.headers["User-Agent"] = "GitHub-Hookshot/044aadd"
    wrk.headers["X-GitHub-Event"] = "issues"
    wrk.headers["X-GitHub-Hook-ID"] = "292430182"
    wrk.headers["X-GitHub-Hook-Installation-Target-Type"] = "repository"
end

function request()
    turn = turn + 1
    if turn > #ids then
        wrk.thread:stop()
        turn = #ids
    end
    wrk.headers["X-GitHub-Delivery"] = ids[turn]
    wrk.headers["X-Hub-Signature-256"] = signatures[turn]
    return wrk.format("POST", path, nil, before .. ids[turn] .. behind)
end

function done(summary, latency)
    local e = summary.errors
    io.write(string.format('\nRESULT {"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,' ..
        '"non_2xx":%d,"connect":%d,"read":%d,"write":%d,"timeout":%d}\n', summary.requests,
        summary.duration, latency:percentile(50), latency:percentile(99), e.status, e.connect,
        e.read, e.write, e.timeout))
end
