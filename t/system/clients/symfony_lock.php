<?php
// Symfony's lock keeps its owners in a sorted set, by Lua scripts: it needs Redis.
require __DIR__ . '/checks.php';
require 'Symfony/Component/Lock/autoload.php';

$redis = new Redis();
$redis->connect($argv[1]);
$factory = new Symfony\Component\Lock\LockFactory(new Symfony\Component\Lock\Store\RedisStore($redis));

check('lock', function () use ($factory) {
    $lock = $factory->createLock('l', 10);
    same(true, $lock->acquire());
    same(false, $factory->createLock('l', 10)->acquire());
    $lock->release();
    same(true, $factory->createLock('l', 10)->acquire());
});
