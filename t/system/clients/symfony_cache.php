<?php
require __DIR__ . '/checks.php';
require __DIR__ . '/symfony_behaviours.php';
require 'Symfony/Component/Cache/autoload.php';
require 'Predis/autoload.php';

use Symfony\Component\Cache\Adapter\RedisAdapter;

$redis = new Redis();
$redis->connect($argv[1]);
$clients = ['phpredis' => $redis, 'predis' => new Predis\Client(['scheme' => 'unix', 'path' => $argv[1]])];

foreach ($clients as $name => $client) {
    $pool = new RedisAdapter($client, "ns$name", 0);
    $pool->clear();
    check_symfony_basics($name, $pool, true);
    check("$name: clear one namespace", function () use ($pool, $client) {
        $other = new RedisAdapter($client, 'other', 0);
        $other->save($other->getItem('stays')->set(1));
        same(true, $pool->clear());
        same(false, $pool->hasItem('m50'));
        same(true, $other->hasItem('stays'));
        same(true, $other->clear());
        same(false, $other->hasItem('stays'));
    });
    check("$name: clear everything", function () use ($client) {
        $all = new RedisAdapter($client, '', 0);
        $all->save($all->getItem('k')->set(1));
        same(true, $all->clear());
        same(false, $all->hasItem('k'));
    });
}
