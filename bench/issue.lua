-- wrk: posts token requests, each once and with a bearer of its own; arguments: file, chars of a bearer, bytes of a
-- request, how many requests come before the first.
local file, bearer, size, at

function init(args)
   local handle = assert(io.open(args[1], "rb"))
   file = handle:read("*a")
   handle:close()
   bearer = tonumber(args[2])
   size = tonumber(args[3])
   at = tonumber(args[4])
   wrk.headers["Content-Type"] = "application/private-token-request"
end

function request()
   local from = at * (bearer + size)
   if from >= #file then
      from, at = 0, 0
   end
   at = at + 1
   wrk.headers["Authorization"] = "Bearer " .. file:sub(from + 1, from + bearer)
   return wrk.format("POST", "/token-request", nil, file:sub(from + bearer + 1, from + bearer + size))
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format("RESULT %d %d %d %d %d\n", summary.requests, summary.duration, latency:percentile(50),
      latency:percentile(99), errors.status + errors.connect + errors.read + errors.write + errors.timeout))
end
