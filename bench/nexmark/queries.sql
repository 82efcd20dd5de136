-- Nexmark's queries in the spelling that Flink and Thalweg share. Behind the name: the columns of Flink's sink; a
-- PRIMARY KEY among them where rows change.
-- q0: auction BIGINT, bidder BIGINT, price BIGINT, date_time TIMESTAMP(3), extra STRING
SELECT auction, bidder, price, date_time, extra FROM bid;
-- q1: auction BIGINT, bidder BIGINT, price DECIMAL(23, 3), date_time TIMESTAMP(3), extra STRING
SELECT auction, bidder, 0.908 * price AS price, date_time, extra FROM bid;
-- q2: auction BIGINT, price BIGINT
SELECT auction, price FROM bid WHERE auction % 123 = 0;
-- q3: name STRING, city STRING, state STRING, id BIGINT
SELECT p.name, p.city, p.state, a.id FROM auction a JOIN person p ON a.seller = p.id
WHERE a.category = 10 AND p.state IN ('OR', 'ID', 'CA');
-- q4: category BIGINT, average DOUBLE, PRIMARY KEY (category) NOT ENFORCED
SELECT q.category, avg(q.highest) AS average
FROM (SELECT max(b.price) AS highest, a.category, a.id FROM auction a JOIN bid b ON a.id = b.auction
      WHERE b.date_time BETWEEN a.date_time AND a.expires GROUP BY a.id, a.category) q
GROUP BY q.category;
-- q5: auction BIGINT, num BIGINT, window_start TIMESTAMP(3)
SELECT c.auction, c.num, c.window_start
FROM (SELECT auction, count(*) AS num, window_start, window_end
      FROM TABLE(HOP(TABLE bid, DESCRIPTOR(date_time), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
      GROUP BY auction, window_start, window_end) c
JOIN (SELECT max(n.num) AS most, n.window_start, n.window_end
      FROM (SELECT count(*) AS num, window_start, window_end
            FROM TABLE(HOP(TABLE bid, DESCRIPTOR(date_time), INTERVAL '2' SECOND, INTERVAL '10' SECOND))
            GROUP BY auction, window_start, window_end) n
      GROUP BY n.window_start, n.window_end) m
  ON c.window_start = m.window_start AND c.window_end = m.window_end AND c.num >= m.most;
-- q7: auction BIGINT, price BIGINT, bidder BIGINT, date_time TIMESTAMP(3), extra STRING
SELECT b.auction, b.price, b.bidder, b.date_time, b.extra
FROM bid b
JOIN (SELECT max(price) AS most, window_end
      FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(date_time), INTERVAL '10' SECOND))
      GROUP BY window_start, window_end) m
  ON b.price = m.most
WHERE b.date_time BETWEEN m.window_end - INTERVAL '10' SECOND AND m.window_end;
-- q8: id BIGINT, name STRING, window_start TIMESTAMP(3)
SELECT p.id, p.name, p.window_start
FROM (SELECT id, name, window_start, window_end
      FROM TABLE(TUMBLE(TABLE person, DESCRIPTOR(date_time), INTERVAL '10' SECOND))
      GROUP BY id, name, window_start, window_end) p
JOIN (SELECT seller, window_start, window_end
      FROM TABLE(TUMBLE(TABLE auction, DESCRIPTOR(date_time), INTERVAL '10' SECOND))
      GROUP BY seller, window_start, window_end) a
  ON p.id = a.seller AND p.window_start = a.window_start AND p.window_end = a.window_end;
-- q9: id BIGINT, item_name STRING, bidder BIGINT, price BIGINT, bid_time TIMESTAMP(3), PRIMARY KEY (id) NOT ENFORCED
SELECT id, item_name, bidder, price, bid_time
FROM (SELECT a.id, a.item_name, b.bidder, b.price, b.date_time AS bid_time,
             ROW_NUMBER() OVER (PARTITION BY a.id ORDER BY b.price DESC, b.date_time ASC) AS place
      FROM auction a JOIN bid b ON a.id = b.auction WHERE b.date_time BETWEEN a.date_time AND a.expires) r
WHERE place <= 1;
-- q11: bidder BIGINT, bids BIGINT, window_start TIMESTAMP(3), window_end TIMESTAMP(3)
SELECT bidder, count(*) AS bids, window_start, window_end
FROM TABLE(SESSION(TABLE bid PARTITION BY bidder, DESCRIPTOR(date_time), INTERVAL '10' SECOND))
GROUP BY bidder, window_start, window_end;
-- q15: `day` STRING, total BIGINT, small BIGINT, middle BIGINT, big BIGINT, bidders BIGINT, small_bidders BIGINT, middle_bidders BIGINT, big_bidders BIGINT, auctions BIGINT, PRIMARY KEY (`day`) NOT ENFORCED
SELECT DATE_FORMAT(date_time, 'yyyy-MM-dd') AS day_of_bid, count(*) AS total,
       count(*) FILTER (WHERE price < 10000) AS small, count(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS middle,
       count(*) FILTER (WHERE price >= 1000000) AS big, count(DISTINCT bidder) AS bidders,
       count(DISTINCT bidder) FILTER (WHERE price < 10000) AS small_bidders,
       count(DISTINCT bidder) FILTER (WHERE price >= 10000 AND price < 1000000) AS middle_bidders,
       count(DISTINCT bidder) FILTER (WHERE price >= 1000000) AS big_bidders, count(DISTINCT auction) AS auctions
FROM bid GROUP BY DATE_FORMAT(date_time, 'yyyy-MM-dd');
-- q16: channel STRING, `day` STRING, `minute` STRING, total BIGINT, small BIGINT, bidders BIGINT, auctions BIGINT, small_auctions BIGINT, PRIMARY KEY (channel, `day`) NOT ENFORCED
SELECT channel, DATE_FORMAT(date_time, 'yyyy-MM-dd') AS day_of_bid, max(DATE_FORMAT(date_time, 'HH:mm')) AS last_minute,
       count(*) AS total, count(*) FILTER (WHERE price < 10000) AS small, count(DISTINCT bidder) AS bidders,
       count(DISTINCT auction) AS auctions, count(DISTINCT auction) FILTER (WHERE price < 10000) AS small_auctions
FROM bid GROUP BY channel, DATE_FORMAT(date_time, 'yyyy-MM-dd');
-- q17: auction BIGINT, `day` STRING, total BIGINT, small BIGINT, least BIGINT, most BIGINT, total_price BIGINT, PRIMARY KEY (auction, `day`) NOT ENFORCED
SELECT auction, DATE_FORMAT(date_time, 'yyyy-MM-dd') AS day_of_bid, count(*) AS total,
       count(*) FILTER (WHERE price < 10000) AS small, min(price) AS least, max(price) AS most, sum(price) AS total_price
FROM bid GROUP BY auction, DATE_FORMAT(date_time, 'yyyy-MM-dd');
-- q18: auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, date_time TIMESTAMP(3), extra STRING, PRIMARY KEY (bidder, auction) NOT ENFORCED
SELECT auction, bidder, price, channel, url, date_time, extra
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY bidder, auction ORDER BY date_time DESC) AS place FROM bid) r
WHERE place <= 1;
-- q19: auction BIGINT, bidder BIGINT, price BIGINT, date_time TIMESTAMP(3), place BIGINT, PRIMARY KEY (auction, place) NOT ENFORCED
SELECT auction, bidder, price, date_time, place
FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY auction ORDER BY price DESC) AS place FROM bid) r
WHERE place <= 10;
-- q20: auction BIGINT, bidder BIGINT, price BIGINT, date_time TIMESTAMP(3), item_name STRING, seller BIGINT
SELECT b.auction, b.bidder, b.price, b.date_time, a.item_name, a.seller
FROM bid b JOIN auction a ON b.auction = a.id WHERE a.category = 10;
-- q21: auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, channel_id STRING
SELECT auction, bidder, price, channel,
       CASE WHEN lower(channel) = 'apple' THEN '0' WHEN lower(channel) = 'google' THEN '1'
            WHEN lower(channel) = 'facebook' THEN '2' WHEN lower(channel) = 'baidu' THEN '3'
            ELSE REGEXP_EXTRACT(url, '(&|^)channel_id=([^&]*)', 2) END AS channel_id
FROM bid
WHERE REGEXP_EXTRACT(url, '(&|^)channel_id=([^&]*)', 2) IS NOT NULL OR lower(channel) IN ('apple', 'google', 'facebook', 'baidu');
-- q22: auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, dir1 STRING, dir2 STRING, dir3 STRING
SELECT auction, bidder, price, channel, SPLIT_INDEX(url, '/', 3) AS dir1, SPLIT_INDEX(url, '/', 4) AS dir2, SPLIT_INDEX(url, '/', 5) AS dir3
FROM bid;
