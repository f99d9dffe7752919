-- KuaiRand-Pure as one log, for "ringleader data import --sql": see kuairand.yaml.
--
-- src1, src2: 2022-04-25 to 05-08, with times. A row's action is the strongest of its signals; "shown" is none, and no target.
SELECT user_id AS "user", video_id AS item, time_ms AS time,
       CASE WHEN is_like = 1 THEN 'like' WHEN long_view = 1 THEN 'long view' WHEN is_click = 1 THEN 'click' ELSE 'shown' END AS action,
       play_time_ms / 1000.0 AS duration
FROM (SELECT * FROM src1 UNION ALL BY NAME SELECT * FROM src2)
UNION ALL
-- src3: up to 50 videos that a user watched before, in order but without times. They are put a minute apart, before the log begins; so
-- windows of days do not mean much among them.
SELECT user_id, item, least(last_time_ms, epoch_ms(TIMESTAMP '2022-04-24 15:00:00')) - 60000 * (n - place), 'watched', 0
FROM (SELECT user_id, last_time_ms, len(watch_seq) AS n, unnest(watch_seq) AS item, generate_subscripts(watch_seq, 1) AS place FROM src3)
