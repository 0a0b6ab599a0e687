local secret = require "native.secret"

describe("a secret that is a document", function()
  local keys

  before_each(function() keys = secret.keyring() end)

  it("of INI lines gives sections, the values of hidden keys as secrets, and what is indented below a key", function()
    local document = secret.literal("lost = 1\n[ one ]\r\nkey=a b\r\nhidden =  s3cret=value \n# hidden = x\n;\nbare\n"
      .. "[two]\nnested =\n  key = 1\n\thidden = below-it\nafter = 2\n  far = 3\n[one]\nkey = again\n[]\n=\n", keys)
    local found = secret.ini(document, { hidden = true })
    equal({ found.one.key, found.two.after, found.two.nested.key, found.two.far }, { "again", "2", "1", nil })
    truthy(secret.same(found.one.hidden, "s3cret=value") and secret.same(found.two.nested.hidden, "below-it"))
    equal({ secret.is(found.one.hidden), found.lost, found.one.bare }, { true, nil, nil })
    matches(secret.redact "it is s3cret=value", "^it is %(secret %x+%)$")
  end)

  it("of INI lines may be empty, or have no end of line", function()
    equal(secret.ini(secret.literal("", keys), {}), {})
    equal(secret.ini(secret.literal("[a]\nb=c", keys), {}), { a = { b = "c" } })
    equal(secret.ini(secret.literal("[a]\n  b=c\n[", keys), {}), { a = {} })
    equal(secret.ini(secret.literal("[a]\nb=\n  c=\n  d=1\n", keys), {}), { a = { b = { c = "", d = "1" } } })
  end)

  it("gives as plain text what is none of the secret", function()
    local document = secret.literal('{"Key": "AKIA", "Secret": "open sesame", "Ends": "2099-01-01T00:00:00Z"}', keys)
    equal({ secret.plain(document, "Key"), secret.plain(document, "Ends") }, { "AKIA", "2099-01-01T00:00:00Z" })
    equal(secret.redact "AKIA until 2099-01-01T00:00:00Z", "AKIA until 2099-01-01T00:00:00Z")
    equal(raises(secret.plain, document, "None").kind, "missing")
  end)
end)
