--- @meta native.sigv4

--- The part of AWS Signature Version 4 that needs the secret key.
--- @class native.sigv4
local sigv4 = {}

--- The signature of a text to be signed.
--- @param secret string|native.secret.value  the secret access key
--- @param date string  "20150830"
--- @param region string
--- @param service string  as the scope names it
--- @param text string
--- @return string  64 hexadecimal digits
function sigv4.sign(secret, date, region, service, text) end

return sigv4
