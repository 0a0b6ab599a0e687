local secret = require "native.secret"
local sigv4  = require "native.sigv4"

describe("sigv4.sign", function()
  -- The example of Amazon's documentation of Signature Version 4.
  local KEY  = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
  local TEXT = "AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/iam/aws4_request\n"
    .. "f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59"
  local SIGNATURE = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"

  it("signs with a key that is a text or a secret", function()
    equal(sigv4.sign(KEY, "20150830", "us-east-1", "iam", TEXT), SIGNATURE)
    equal(sigv4.sign(secret.literal(KEY, secret.keyring()), "20150830", "us-east-1", "iam", TEXT), SIGNATURE)
  end)

  it("refuses a key that is none", function()
    matches(raises(sigv4.sign, ("x"):rep(1025), "20150830", "us-east-1", "iam", TEXT), "is not so long")
  end)
end)
