-- The Nexmark queries, over sources bid, auction and person.
-- q0
SELECT auction, bidder, price, date_time, extra FROM bid;
-- q1
SELECT auction, bidder, 0.908 * price AS price, date_time, extra FROM bid;
-- q2
SELECT auction, price FROM bid WHERE auction % 3 = 0;
-- q3
SELECT p.name, p.city, p.state, a.id FROM auction a JOIN person p ON a.seller = p.id
WHERE a.category = 10 AND p.state IN ('OR', 'ID', 'CA');
-- q4
SELECT q.category, avg(q.final) AS final
FROM (SELECT max(b.price) AS final, a.category, a.id FROM auction a JOIN bid b ON a.id = b.auction
      WHERE b.date_time BETWEEN a.date_time AND a.expires GROUP BY a.id, a.category) q
GROUP BY q.category;
-- q5
SELECT c.auction, c.num, c.window_start
FROM (SELECT auction, count(*) AS num, window_start FROM HOP(bid, date_time, INTERVAL '2 seconds', INTERVAL '10 seconds')
      GROUP BY window_start, auction) c
JOIN (SELECT max(num) AS most, window_start
      FROM (SELECT count(*) AS num, window_start FROM HOP(bid, date_time, INTERVAL '2 seconds', INTERVAL '10 seconds')
            GROUP BY window_start, auction) n
      GROUP BY window_start) m ON c.window_start = m.window_start AND c.num >= m.most;
-- q6
SELECT seller, avg(final) AS final
FROM (SELECT q.seller, q.final, ROW_NUMBER() OVER (PARTITION BY q.seller ORDER BY q.closed DESC, q.id) AS place
      FROM (SELECT a.id, a.seller, max(b.price) AS final, max(b.date_time) AS closed FROM auction a JOIN bid b ON a.id = b.auction
            WHERE b.date_time BETWEEN a.date_time AND a.expires GROUP BY a.id, a.seller) q) r
WHERE place <= 10 GROUP BY seller;
-- q7
SELECT b.auction, b.price, b.bidder, b.date_time, b.extra
FROM bid b JOIN (SELECT max(price) AS most, window_start, window_end FROM TUMBLE(bid, date_time, INTERVAL '10 seconds')
                 GROUP BY window_start, window_end) m
  ON b.price = m.most AND b.date_time >= m.window_start AND b.date_time < m.window_end;
-- q8
SELECT p.id, p.name, p.window_start
FROM (SELECT id, name, window_start FROM TUMBLE(person, date_time, INTERVAL '10 seconds') GROUP BY id, name, window_start) p
JOIN (SELECT seller, window_start FROM TUMBLE(auction, date_time, INTERVAL '10 seconds') GROUP BY seller, window_start) a
  ON p.id = a.seller AND p.window_start = a.window_start;
-- q9
SELECT id, item_name, auction, bidder, price, bid_time
FROM (SELECT a.id, a.item_name, b.auction, b.bidder, b.price, b.date_time AS bid_time,
             ROW_NUMBER() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.date_time) AS place
      FROM auction a JOIN bid b ON a.id = b.auction WHERE b.date_time BETWEEN a.date_time AND a.expires) r
WHERE place <= 1;
-- q10
SELECT auction, bidder, price, date_time, extra, to_char(date_time, 'YYYY-MM-DD') AS day, to_char(date_time, 'HH24:MI') AS minute FROM bid;
-- q11
SELECT bidder, window_start, window_end, count(*) AS bids
FROM SESSION(bid, date_time, INTERVAL '10 seconds', PARTITION BY bidder) GROUP BY bidder, window_start, window_end;
-- q13
SELECT b.auction, b.bidder, b.price, b.date_time, s.value
FROM (SELECT *, auction % 10 AS side FROM bid) b
JOIN (SELECT id % 10 AS side, max(category) AS value FROM auction GROUP BY id % 10) s ON b.side = s.side;
-- q14
SELECT auction, bidder, 0.908 * price AS price,
       CASE WHEN EXTRACT(HOUR FROM date_time) BETWEEN 8 AND 18 THEN 'dayTime'
            WHEN EXTRACT(HOUR FROM date_time) <= 6 OR EXTRACT(HOUR FROM date_time) >= 20 THEN 'nightTime'
            ELSE 'otherTime' END AS bid_time_type,
       date_time, extra, length(extra) - length(replace(extra, 'c', '')) AS c_counts
FROM bid WHERE 0.908 * price > 1000 AND 0.908 * price < 5000000;
-- q15
SELECT to_char(date_time, 'YYYY-MM-DD') AS day, count(*) AS total_bids,
       count(*) FILTER (WHERE price < 10000) AS rank1_bids, count(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS rank2_bids,
       count(*) FILTER (WHERE price >= 1000000) AS rank3_bids, count(DISTINCT bidder) AS total_bidders,
       count(DISTINCT bidder) FILTER (WHERE price < 10000) AS rank1_bidders, count(DISTINCT auction) AS total_auctions,
       count(DISTINCT auction) FILTER (WHERE price >= 1000000) AS rank3_auctions
FROM bid GROUP BY to_char(date_time, 'YYYY-MM-DD');
-- q16
SELECT channel, to_char(date_time, 'YYYY-MM-DD') AS day, max(to_char(date_time, 'HH24:MI')) AS minute, count(*) AS total_bids,
       count(*) FILTER (WHERE price < 10000) AS rank1_bids, count(DISTINCT bidder) AS total_bidders,
       count(DISTINCT auction) FILTER (WHERE price < 10000) AS rank1_auctions
FROM bid GROUP BY channel, to_char(date_time, 'YYYY-MM-DD');
-- q17
SELECT auction, to_char(date_time, 'YYYY-MM-DD') AS day, count(*) AS total_bids,
       count(*) FILTER (WHERE price < 10000) AS rank1_bids, min(price) AS min_price, max(price) AS max_price,
       avg(price) AS avg_price, sum(price) AS sum_price
FROM bid GROUP BY auction, to_char(date_time, 'YYYY-MM-DD');
-- q18
SELECT auction, bidder, price, channel, url, date_time, extra
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY bidder, auction ORDER BY date_time DESC) AS place FROM bid) r WHERE place <= 1;
-- q19
SELECT * FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY price DESC) AS place FROM bid) r WHERE place <= 10;
-- q20
SELECT b.auction, b.bidder, b.price, b.channel, b.url, b.date_time, a.item_name, a.initial_bid, a.seller, a.category
FROM bid b JOIN auction a ON b.auction = a.id WHERE a.category = 10;
-- q21
SELECT auction, bidder, price, channel,
       CASE WHEN lower(channel) = 'apple' THEN '0' WHEN lower(channel) = 'google' THEN '1' WHEN lower(channel) = 'facebook' THEN '2'
            WHEN lower(channel) = 'baidu' THEN '3' ELSE split_part(url, 'channel_id=', 2) END AS channel_id
FROM bid WHERE split_part(url, 'channel_id=', 2) <> '' OR lower(channel) IN ('apple', 'google', 'facebook', 'baidu');
-- q22
SELECT auction, bidder, price, channel, split_part(url, '/', 4) AS dir1, split_part(url, '/', 5) AS dir2, split_part(url, '/', 6) AS dir3
FROM bid;
