-- wrk: posts the entries of a file, one a request, each once; arguments: file, bytes of each, how many, path.
local file, size, path, at, all

function init(args)
   local handle = assert(io.open(args[1], "rb"))
   size = tonumber(args[2])
   file = handle:read(size * tonumber(args[3]))
   handle:close()
   path = args[4]
   at = 0
   all = #file / size
   wrk.headers["Content-Type"] = "application/vnd.headcount.entry"
end

function request()
   local body = file:sub(at * size + 1, (at + 1) * size)
   at = (at + 1) % all
   return wrk.format("POST", path, nil, body)
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format("RESULT %d %d %d %d %d\n", summary.requests, summary.duration, latency:percentile(50),
      latency:percentile(99), errors.status + errors.connect + errors.read + errors.write + errors.timeout))
end
