<?php
// PHP's session handler of phpredis, with its lock.
require __DIR__ . '/checks.php';

ini_set('session.save_handler', 'redis');
ini_set('session.save_path', "unix://$argv[1]?prefix=sess:&database=0");
ini_set('session.use_cookies', '0');
ini_set('session.cache_limiter', '');
ini_set('redis.session.locking_enabled', '1');
ini_set('redis.session.lock_retries', '3');
ini_set('redis.session.lock_wait_time', '1000');
ob_start();

$redis = new Redis();
$redis->connect($argv[1]);

check('write, read, destroy', function () use ($redis) {
    session_id('one');
    same(true, session_start());
    same(1, $redis->exists('sess:one_LOCK'));
    $_SESSION['user'] = 'Ada';
    session_write_close();
    same(0, $redis->exists('sess:one_LOCK'));
    same(true, $redis->ttl('sess:one') > 0);
    session_id('one');
    session_start();
    same('Ada', $_SESSION['user']);
    session_destroy();
    same(0, $redis->exists('sess:one'));
});
check('another holds the lock', function () use ($redis) {
    $redis->set('sess:two_LOCK', 'somebody', 5);
    session_id('two');
    try {
        $started = session_start();
    } catch (\ErrorException $e) {
        $started = false;
    }
    same(false, $started);
    same('somebody', $redis->get('sess:two_LOCK'));
});
session_abort();
ob_end_flush();
exec('true'); // nothing is left for PHP to close at the end
