local xml = require "native.xml"

local function refused(text)
  local failure = raises(xml.parse, text)
  equal(failure.kind, "protocol")
  return failure.message
end

describe("xml.parse", function()
  it("reads elements, attributes and text, whatever their prefixes", function()
    equal(xml.parse [==[<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>a&amp;b</Name>
  <Contents><Key>x &#233; &lt;y&gt;</Key><Size>0</Size></Contents><!-- none --><Contents><Key/></Contents>
  <s:Grant xmlns:s="x" s:type='User'><![CDATA[<raw>]]></s:Grant>
</ListBucketResult>]==], {
      name = "ListBucketResult", attributes = { xmlns = "http://s3.amazonaws.com/doc/2006-03-01/" },
      { name = "Name", text = "a&b" },
      { name = "Contents", { name = "Key", text = "x é <y>" }, { name = "Size", text = "0" } },
      { name = "Contents", { name = "Key", text = "" } },
      { name = "Grant", attributes = { ["xmlns:s"] = "x", ["s:type"] = "User" }, text = "<raw>" },
    })
  end)

  it("keeps a text that comes in many pieces", function()
    local lines = ("line\n"):rep(100000)
    equal(xml.parse("<a>" .. lines .. "</a>").text, lines)
  end)

  it("refuses a name with a colon too many, or with nothing beside it", function()
    for _, name in ipairs { "a:", ":a", "a:b:c", "a:b:", "::" } do
      matches(refused(("<x><%s/></x>"):format(name)), "^1:%d+: .*a colon too many")
    end
  end)

  it("refuses what is no document, with its place", function()
    for _, text in ipairs { "", "plain", "<a>", "<a></b>", "<a/><b/>", "<a>&unknown;</a>", "<a>\xFF</a>",
      "<html><br></html>" } do
      matches(refused(text), "^%d+:%d+: ")
    end
  end)

  it("refuses documents that declare a type, and so every bomb of entities", function()
    matches(refused '<!DOCTYPE a [<!ENTITY b "ccc">]><a>&b;</a>', "declares a document type")
    matches(refused '<!DOCTYPE html><html/>', "declares a document type")
  end)

  it("refuses depth and number beyond measure", function()
    matches(refused(("<a>"):rep(300) .. ("</a>"):rep(300)), "too deep")
    matches(refused("<a>" .. ("<b/>"):rep(1000001) .. "</a>"), "too many")
  end)
end)
