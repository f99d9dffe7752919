-- KuaiRand-Pure as sequences: src1 and src2 are the logs of the standard policy, src3 the watch history before them, which has an order
-- but only the time of its last video: the others are taken to be a minute apart.
SELECT user_id AS "user", time_ms AS "time", video_id AS item,
       CASE WHEN is_like = 1 THEN 'like' WHEN long_view = 1 THEN 'long_view' WHEN is_click = 1 THEN 'click' ELSE 'impression' END AS action,
       play_time_ms / 1000.0 AS duration, 'tab ' || tab AS surface
FROM (FROM src1 UNION ALL BY NAME FROM src2)
UNION ALL
SELECT user_id, least(last_time_ms, epoch_ms(TIMESTAMP '2022-04-24 15:00:00')) - 60000 * (len(watch_seq) - k), watch_seq[k], 'history', 0, 'history'
FROM (SELECT *, unnest(range(1, len(watch_seq) + 1)) AS k FROM src3)
