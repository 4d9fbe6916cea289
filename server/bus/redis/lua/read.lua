-- Pages of streams. ARGV: the most entries of a page, then for each the stream and the seq to begin behind.
-- Gives for each the entries as seq, data, seq, data, …
local pages = {}
for i = 2, #ARGV, 2 do
  local page = {}
  for _, entry in ipairs(redis.call('XRANGE', ARGV[i], '(' .. ARGV[i + 1] .. '-0', '+', 'COUNT', ARGV[1])) do
    page[#page + 1] = string.match(entry[1], '^%d+')
    page[#page + 1] = entry[2][2]
  end
  pages[#pages + 1] = page
end
return pages
