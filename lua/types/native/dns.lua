--- @meta native.dns

--- Questions to name servers, by c-ares.
--- @class native.dns
local dns = {}

--- The records of an answer, an alias (CNAME) on the way included; none where the name has no record of the type. Names are
--- in lower case; a value is as people write it: "10 mail.example.org" for MX. Raises `missing` where there is no such name,
--- `timeout`, `connect` where no server answers or can be reached, `remote` where it fails, `protocol` for an answer that
--- cannot be read.
--- @param name string  exactly this name: no domain is added
--- @param type "A"|"AAAA"|"CNAME"|"TXT"|"MX"|"NS"|"SOA"|"SRV"|"PTR"
--- @param options? { servers?: string[], timeout?: number, try?: number }  "10.0.0.1", "127.0.0.1:5353", default: the
---   system's; seconds for all (15) and for one try at one server (2)
--- @return { name: string, type: string, value: string, ttl: integer }[]
function dns.query(name, type, options) end

return dns
