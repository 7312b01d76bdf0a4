-- The load of one wrk run. wrk passes what follows "--": MODE TOKEN CONNECTIONS HOLD_MS [IDS]
--   create   POST one constant ticket
--   get      GET the tickets whose ids stand in the file IDS, one a line, in turn
--   post     POST to the path that the first line of the file IDS names the body of its second line
--   paced    as post, but each connection waits before each request: HOLD_MS on average, evenly
--            spread from 0 to its double. Latency at a rate below what the machine can give.
--   paths    GET the paths in the file IDS, one a line, in turn
--
-- In mode create each connection waits HOLD_MS before its first request. Node accepts one
-- connection per turn of its loop; without the wait its first requests queue for up to a second
-- behind busy connections, and p99 would tell of that ramp instead of the service. The wait is
-- part of wrk's duration; load.py takes it out again. Mode get has no wait: nginx and Tessera
-- need none, and the hook costs wrk time at 100k requests a second.

local BODY = '{"title":"Issue with API integration","description":"Detailed description of the ' ..
    'issue, as a caller would write it in a few words and then some more.","priority":"high",' ..
    '"category":"Technical Support","metadata":{"customer_id":"CUST-123",' ..
    '"reference_id":"EXT-456"}}'

local function post_tickets(connections, hold_ms)
    local started = 0
    wrk.method = "POST"
    wrk.body = BODY
    wrk.path = wrk.path .. "/tickets"
    wrk.headers["Content-Type"] = "application/json"
    function delay()
        started = started + 1
        if started <= connections then
            return hold_ms
        end
        return 0
    end
end

local function get_tickets(file)
    local requests, turn = {}, 0
    for id in io.lines(file) do
        requests[#requests + 1] = wrk.format("GET", wrk.path .. "/tickets/" .. id)
    end
    function request()
        turn = turn % #requests + 1
        return requests[turn]
    end
end

local function post_file(file)
    local lines = io.lines(file)
    wrk.method = "POST"
    wrk.path = lines()
    wrk.body = lines()
    wrk.headers["Content-Type"] = "application/json"
end

local function pace(hold_ms)
    function delay()
        return math.random(0, 2 * hold_ms)
    end
end

local function get_paths(file)
    local requests, turn = {}, 0
    for path in io.lines(file) do
        requests[#requests + 1] = wrk.format("GET", path)
    end
    function request()
        turn = turn % #requests + 1
        return requests[turn]
    end
end

function init(args)
    wrk.headers["Authorization"] = "Bearer " .. args[2]
    if args[1] == "create" then
        post_tickets(tonumber(args[3]), tonumber(args[4]))
    elseif args[1] == "post" then
        post_file(args[5])
    elseif args[1] == "paced" then
        post_file(args[5])
        pace(tonumber(args[4]))
    elseif args[1] == "paths" then
        get_paths(args[5])
    else
        get_tickets(args[5])
    end
end

function done(summary, latency)
    local e = summary.errors
    io.write(string.format('\nRESULT {"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,' ..
        '"non_2xx":%d,"connect":%d,"read":%d,"write":%d,"timeout":%d}\n', summary.requests,
        summary.duration, latency:percentile(50), latency:percentile(99), e.status, e.connect,
        e.read, e.write, e.timeout))
end
