--- YAML texts as people write them, made from a seed: manifests, Spring configurations, workflows, compositions, and
--- some that are written in every way there is.
local yaml_corpus = {}

--- Numbers that follow from a seed: random(n) is 1 to n.
function yaml_corpus.random(seed)
  local state = seed * 2654435761 % 4294967296 + 1
  return function(n)
    state = (state * 1103515245 + 12345) % 2147483648
    return (state >> 8) % n + 1
  end
end

local function lines_of(text, values)
  return (text:gsub("%$(%w+)", function(name) return tostring(values[name]) end))
end

local DEPLOYMENT = [[
# $name of the $team
apiVersion: apps/v1
kind: Deployment
metadata:
  name: $name	# as in DNS
  namespace: "$team"
  labels: {app: $name, tier: "front", 'team': $team}
  annotations:
    # who to call
    example.org/owner: $team@example.org
    example.org/empty:
spec:
  replicas:   $count   # see the capacity plan

  # never more than one too many
  strategy:
    rollingUpdate: { maxSurge: 1, maxUnavailable: 0 }
  selector:
    matchLabels:
      app: $name
  template:
    metadata:
      labels:
        app: $name
    spec:
      containers:
        # the program itself
        - name: app
          image: "registry.example.org/$team/$name:1.$count.0"   # by digest one day
          args: ["--port", "8080", '--name=$name']
          env:
            - name: JAVA_OPTS
              value: -Xmx${count}m -Dx=y
            - {name: MODE, value: "on"}

            # taken from a secret
            - name: PASSWORD
              valueFrom:
                secretKeyRef: {name: $name, key: password}
          resources:
            limits:
              cpu: 500m
              memory: ${count}Gi
          command:
            - sh
            - -c
            - |
              # not a comment
              exec $name \
                --quiet
        # beside it
        - name: proxy
          image: envoy:1.2

      # where it runs
      nodeSelector: {}
      tolerations: []
]]

local SERVICE = [[
apiVersion: v1
kind: Service
metadata:
  name: $name
spec:
  type: ClusterIP
  ports:
  - port: 80
    targetPort: 8080 # of the container
    name: http
  - port: 443

  # monitoring
  - {port: 9100, name: "metrics"}
  selector:
    app: $name
]]

local CONFIG = [[
apiVersion: v1
kind: ConfigMap
metadata:
  name: $name-config
data:
  plain.properties: |
    # of the $team
    a=1

    b=$count
  folded: >-
    one line
    that goes on

    and a second
  keep: |+
    ends with blank lines

  quoted: "tab\there"
  single: 'it''s $count'
]]

local LIST = [[
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Secret
  metadata:
    name: $name
  type: Opaque
# the second
- apiVersion: v1
  kind: ServiceAccount
  metadata: {name: $team}
]]

local SPRING = [[
# configuration of $name
spring:
  application:
    name: $name
  datasource:
    url: jdbc:mysql://db$count.example.org:3306/$team?useSSL=true   # the writer
    username: '$team'
    password: "{cipher}0a1b2c"
    hikari.maximum-pool-size: $count
    hikari.minimum-idle: 1
  # off since the migration
  flyway.enabled: false
  jpa:
    properties.hibernate:
      dialect: org.hibernate.dialect.MySQL8Dialect
      format_sql: true

server.port: 8080
server.ssl.enabled: off
management.endpoints.web.exposure.include: "*"

logging:
  level:
    root: WARN
    "org.springframework": INFO   # noisy

archive:
  uri-root: s3://$team-archive
  path-prefix:
  tenants: [a, b,
    c]
]]

local WORKFLOW = [[
name: build $name
on:
  push:
    branches: [main, 'release/**']
  schedule:
    # at night
    - cron: "0 3 * * *"
env: &common
  TEAM: $team
  LEVEL: 3
jobs:
  test:
    runs-on: ubuntu-latest
    timeout-minutes: $count
    strategy:
      matrix:
        version: [8, 11, "17"]
        include:
          - {os: linux, slow: yes}
          -   os: mac
              slow: no
    steps:
      - uses: actions/checkout@v3
      # whole history
      - uses: actions/setup
        with:
          version: ${{ matrix.version }}

          cache: gradle
      - name: run
        run: |
          ./gradlew check
          if [ -n "$X" ]; then
            echo "# no comment"
          fi
      - run: >
          ./deploy
          --all
        if: github.ref == 'refs/heads/main'
  publish:
    needs: [test]
    env: *common
]]

local COMPOSITION = [[
x-logging: &logging
  driver: json-file
  options: {max-size: "10m", max-file: '3'}
x-spare: &spare plain
services:
  $name:
    <<: *logging
    image: $name:$count
    ports:
      - "8080:80"
      - 9090:90
    environment:
      - A=1
      - 'B=two words'
    depends_on: [ db, cache ]
    tmpfs:
  db:
    image: "postgres:13"
    logging: *logging
    command: [
      "postgres",
      "-c", "max_connections=$count"
    ]
    volumes:
    - data:/var/lib/postgresql
    - type: bind
      source: ./x
volumes: {data: , other: }
matrix:
  - - 1
    - 2
  - - 3
    -   - deep
        - deeper
  -
    - own line
  -
]]

local KINDS = { DEPLOYMENT, SERVICE, CONFIG, LIST, SPRING, WORKFLOW, COMPOSITION }
local NAMES = { "web", "worker", "é-accueil", "api-2", "store", "müller" }
local TEAMS = { "encode", "rdw", "opus", "mitx" }

-- ---- texts of any structure ----

local SCALARS = { "plain", "two words", "'single'", '"double"', "12", "1.5", "true", "null", "~", "", "on", "0644",
  "2019-11-01", "http://x:80/y", "'it''s'", '"a\\nb"', "é", "a#b", "-x", ":x", "'# no comment'" }
local FLOWS = { "{}", "[]", "{a: 1}", "[1, 2, 3]", "{ a: 1, b: [x, 'y'] }", '{"a":1,"b":"c"}', "[{a: 1}, {b: 2}]",
  "{a: , b: }", "{a, b: 1}", "[a, b, ]", "[ ]", "{a: {b: {c: d}}}" }
local COMMENTS = { "# note", "#", "# with: colon", "#\ttab", "# - dash" }

local writer = {}
writer.__index = writer

function writer:chance(percent) return self.random(100) <= percent end

function writer:pick(list) return list[self.random(#list)] end

function writer:line(text) self.lines[#self.lines + 1] = text end

function writer:tail() return self:chance(15) and ("  "):rep(self.random(2)) .. self:pick(COMMENTS) or "" end

function writer:above(column)
  if self:chance(10) then self:line("") end
  if self:chance(8) then self:line((" "):rep(self.random(8) - 1) .. self:pick(COMMENTS)) end
  for _ = 1, self:chance(15) and self.random(2) or 0 do self:line((" "):rep(column) .. self:pick(COMMENTS)) end
end

function writer:key()
  self.count = self.count + 1
  local name = ("k%d"):format(self.count)
  if self:chance(6) then return ("'q %d'"):format(self.count) end
  if self:chance(6) then return ('"d%d"'):format(self.count) end
  if self:chance(5) then return name .. ".x" end
  return name
end

--- A block scalar below `head`, deeper than `column`.
function writer:block_scalar(head, column)
  local deeper = (" "):rep(column + 1 + self.random(3))
  self:line(head .. " " .. self:pick { "|", ">", "|-", ">-", "|+" } .. self:tail())
  for i = 1, self.random(3) do
    if i > 1 and self:chance(20) then self:line("") end
    self:line(deeper .. (i > 1 and self:chance(20) and "  " or "") .. self:pick { "text", "# text", "key: v", "- x" })
  end
end

local write_collection

--- What comes behind `head`, a key with its colon or a dash, of an entry in that column.
function writer:value(head, column, depth)
  local kind = self.random(10)
  if depth < 4 and kind <= 3 then
    local list = self:chance(40)
    local step = list and head:sub(-1) == ":" and self:chance(40) and 0 or self.step
    self:line(head .. (self:chance(4) and " &a" .. self.count or "") .. self:tail())
    return write_collection(self, column + step, depth + 1, list)
  end
  if kind == 4 then return self:block_scalar(head, column) end
  local blank = self:chance(10) and "   " or " "
  if kind == 5 then return self:line(head .. blank .. self:pick(FLOWS) .. self:tail()) end
  if kind == 6 and self:chance(20) then
    self:line(head .. " [")
    self:line((" "):rep(column + 2) .. "a,")
    self:line((" "):rep(column + 2) .. "b: 1" .. self:tail())
    return self:line((" "):rep(column + 1) .. "]" .. self:tail())
  end
  if kind == 7 and self:chance(10) then return self:line(head .. " !tag " .. "x" .. self:tail()) end
  if kind == 8 and self:chance(10) then
    self:line(head)
    return self:line((" "):rep(column + 2) .. '"on its own line"' .. self:tail())
  end
  if kind == 9 and self:chance(20) then
    self:line(head .. " first")
    return self:line((" "):rep(column + 3) .. "second" .. self:tail())
  end
  local text = self:pick(SCALARS)
  self:line(head .. (text == "" and "" or blank .. text) .. self:tail())
end

--- An item that begins with a map or list in its own line.
local function write_compact(self, column, depth)
  local indent = (" "):rep(column)
  if self:chance(70) then
    local gap = self:chance(15) and "   " or " "
    local inner = column + 1 + #gap
    self:value(indent .. "-" .. gap .. self:key() .. ":", inner, depth + 1)
    for _ = 1, self.random(3) - 1 do
      self:above(inner)
      self:value((" "):rep(inner) .. self:key() .. ":", inner, depth + 1)
    end
  else
    self:value(indent .. "- -", column + 2, depth + 1)
    if self:chance(50) then self:value((" "):rep(column + 2) .. "-", column + 2, depth + 1) end
  end
end

function write_collection(self, column, depth, list)
  for _ = 1, self.random(4) do
    self:above(column)
    local indent = (" "):rep(column)
    if not list then
      if self:chance(1) then
        self:line(indent .. "? " .. self:key())
        self:line(indent .. ": v")
      else
        self:value(indent .. self:key() .. self:pick { ":", ":", ":", ":", " :" }, column, depth)
      end
    elseif depth < 4 and self:chance(40) then
      write_compact(self, column, depth)
    else
      self:value(indent .. "-", column, depth)
    end
  end
end

local function any_structure(random)
  local self = setmetatable({ random = random, lines = {}, count = 0, step = random(2) * 2 }, writer)
  for i = 1, random(5) == 1 and 3 or 1 do
    if i > 1 or self:chance(30) then self:line("---" .. self:tail()) end
    write_collection(self, 0, 1, self:chance(15))
  end
  return table.concat(self.lines, "\n") .. "\n"
end

local function of_a_kind(random)
  local parts = {}
  for i = 1, random(4) == 1 and 3 or 1 do
    local values = { name = NAMES[random(#NAMES)], team = TEAMS[random(#TEAMS)], count = random(20) }
    parts[i] = lines_of(KINDS[random(#KINDS)]:gsub("%${count}", "$count"), values)
  end
  return table.concat(parts, random(2) == 1 and "---\n" or "\n--- # next\n\n")
end

--- A text by its number: CRLF, a byte order mark, or no last line end at times.
function yaml_corpus.text(number)
  local random = yaml_corpus.random(number)
  local text = (number % 3 == 0 and any_structure or of_a_kind)(random)
  if random(6) == 1 then text = text:gsub("\n", "\r\n") end
  if random(10) == 1 then text = "\xEF\xBB\xBF" .. text end
  if random(10) == 1 then text = text:gsub("\r?\n$", "") end
  return text
end

return yaml_corpus
